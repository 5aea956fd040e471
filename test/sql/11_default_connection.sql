\set ECHO none
\i test/sql/include/connect.sql
\set ECHO all
-- The connection of calls that name none, as several roles see it.
CREATE ROLE regress_alice;
CREATE ROLE regress_bob;
CREATE ROLE regress_mallory;
GRANT smartlead_user TO regress_alice, regress_bob;
GRANT USAGE ON FOREIGN DATA WRAPPER smartlead TO regress_mallory, regress_bob;
GRANT USAGE ON FOREIGN SERVER sandbox TO regress_alice;
CREATE USER MAPPING FOR regress_alice SERVER sandbox OPTIONS (api_key 'sandbox-key-beta');

-- S5: somebody makes servers for everybody; who has a mapping of its own doesn't notice.
SET ROLE regress_mallory;
CREATE SERVER evil FOREIGN DATA WRAPPER smartlead OPTIONS (base_url :'sandbox_url', rate_limit 'none');
CREATE USER MAPPING FOR PUBLIC SERVER evil OPTIONS (api_key 'sandbox-key-alpha');
CREATE SERVER worse FOREIGN DATA WRAPPER smartlead OPTIONS (base_url :'sandbox_url', rate_limit 'none');
CREATE USER MAPPING FOR regress_alice SERVER worse OPTIONS (api_key 'sandbox-key-alpha');
GRANT USAGE ON FOREIGN SERVER evil, worse TO PUBLIC;
SET ROLE regress_alice;
SELECT connection_name, ok FROM smartlead_ping();
SELECT connection_name, ok FROM smartlead_ping('evil');
-- S5: nor does a call move there when that mapping is gone, or the server out of reach.
RESET ROLE;
DROP USER MAPPING FOR regress_alice SERVER sandbox;
SET ROLE regress_alice;
SELECT connection_name, ok FROM smartlead_ping();
RESET ROLE;
REVOKE USAGE ON FOREIGN SERVER sandbox FROM regress_alice;
SET ROLE regress_alice;
SELECT connection_name, ok FROM smartlead_ping();
SET smartlead.connection = 'evil';
SELECT connection_name, ok FROM smartlead_ping();
RESET smartlead.connection;
RESET ROLE;
SELECT connection_name, ok FROM smartlead_ping();

-- S5: PUBLIC's mapping counts where there is nothing else, and never before one of the caller's own.
CREATE SERVER common FOREIGN DATA WRAPPER smartlead OPTIONS (base_url :'sandbox_url', rate_limit 'none');
CREATE USER MAPPING FOR PUBLIC SERVER common OPTIONS (api_key 'sandbox-key-alpha');
GRANT USAGE ON FOREIGN SERVER common TO PUBLIC;
SET ROLE regress_alice;
SELECT connection_name, ok FROM smartlead_ping();
RESET ROLE;
GRANT USAGE ON FOREIGN SERVER sandbox TO regress_alice;
CREATE USER MAPPING FOR regress_alice SERVER sandbox OPTIONS (api_key 'sandbox-key-beta');
SET ROLE regress_alice;
SELECT connection_name, ok FROM smartlead_ping();
RESET ROLE;
REVOKE USAGE ON FOREIGN SERVER sandbox FROM regress_alice;
SET ROLE regress_alice;
SELECT connection_name, ok FROM smartlead_ping();
RESET ROLE;
GRANT USAGE ON FOREIGN SERVER sandbox TO regress_alice;
DROP USER MAPPING FOR regress_alice SERVER sandbox;
SET ROLE regress_alice;
SELECT connection_name, ok FROM smartlead_ping();

-- S5: one's own server, with one's own mapping, is a default.
SET ROLE regress_bob;
CREATE SERVER bobs FOREIGN DATA WRAPPER smartlead OPTIONS (base_url :'sandbox_url', rate_limit 'none');
CREATE USER MAPPING FOR regress_bob SERVER bobs OPTIONS (api_key 'sandbox-key-beta');
SELECT connection_name, ok FROM smartlead_ping();

RESET ROLE;
DROP OWNED BY regress_alice, regress_bob, regress_mallory CASCADE;
DROP SERVER common CASCADE;
DROP ROLE regress_alice, regress_bob, regress_mallory;
