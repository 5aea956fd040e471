-- Where every test starts: a sandbox and an extension as new, and one connection, named "sandbox".
-- What this file does is not echoed, so that no address reaches an expected output.
\set sandbox_url `echo "$SMARTLEAD_SANDBOX_URL"`
\set sandbox_said `test/sandboxctl POST /_sandbox/reset`
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS smartlead CASCADE;
DROP TABLE IF EXISTS smartlead_events;
CREATE EXTENSION smartlead;
CREATE SERVER sandbox FOREIGN DATA WRAPPER smartlead
	OPTIONS (base_url :'sandbox_url', rate_limit 'none');
CREATE USER MAPPING FOR CURRENT_USER SERVER sandbox OPTIONS (api_key 'sandbox-key-alpha');
RESET client_min_messages;
