-- 1. Connect. A server is a Smartlead workspace; each user's API key is in a user mapping.
--    (base_url leads to the imitation here; leave it out for Smartlead itself.)
CREATE EXTENSION smartlead;

CREATE SERVER sales FOREIGN DATA WRAPPER smartlead
	OPTIONS (base_url :'sandbox_url');

CREATE USER MAPPING FOR CURRENT_USER SERVER sales
	OPTIONS (api_key 'sandbox-key-alpha');

-- Does it work?
SELECT connection_name, ok, http_status, rate_limit, message FROM smartlead_ping();
