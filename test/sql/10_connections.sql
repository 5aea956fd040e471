\set ECHO none
\i test/sql/include/connect.sql
\set ECHO all
-- Options: unknown ones and bad values are refused, and the valid ones named.
CREATE SERVER bad FOREIGN DATA WRAPPER smartlead OPTIONS (api_key 'x');
CREATE SERVER bad FOREIGN DATA WRAPPER smartlead OPTIONS (colour 'red');
CREATE SERVER bad FOREIGN DATA WRAPPER smartlead OPTIONS (base_url 'http://server.smartlead.ai/api/v1');
CREATE SERVER bad FOREIGN DATA WRAPPER smartlead OPTIONS (base_url 'ftp://127.0.0.1/');
CREATE SERVER bad FOREIGN DATA WRAPPER smartlead OPTIONS (base_url 'https://user:pw@server.smartlead.ai/');
CREATE SERVER bad FOREIGN DATA WRAPPER smartlead OPTIONS (base_url 'https://server.smartlead.ai/?api_key=x');
CREATE SERVER bad FOREIGN DATA WRAPPER smartlead OPTIONS (base_url 'http://127.0.0.1.evil.example/');
CREATE SERVER bad FOREIGN DATA WRAPPER smartlead OPTIONS (base_url 'nonsense');
-- S6: what would make a path, a query or a user of what is appended to it, empty ones too.
CREATE SERVER bad FOREIGN DATA WRAPPER smartlead OPTIONS (base_url 'http://127.0.0.1:1/internal/admin#');
CREATE SERVER bad FOREIGN DATA WRAPPER smartlead OPTIONS (base_url 'http://127.0.0.1:1/internal/admin?');
CREATE SERVER bad FOREIGN DATA WRAPPER smartlead OPTIONS (base_url 'https://server.smartlead.ai#/api/v1');
CREATE SERVER bad FOREIGN DATA WRAPPER smartlead OPTIONS (base_url 'https://@server.smartlead.ai/api/v1');
CREATE SERVER bad FOREIGN DATA WRAPPER smartlead OPTIONS (base_url 'https://server.smartlead.ai\@other.example/');
CREATE SERVER bad FOREIGN DATA WRAPPER smartlead OPTIONS (base_url ' https://server.smartlead.ai/api/v1');
CREATE SERVER bad FOREIGN DATA WRAPPER smartlead OPTIONS (timeout '0');
CREATE SERVER bad FOREIGN DATA WRAPPER smartlead OPTIONS (timeout 'soon');
CREATE SERVER bad FOREIGN DATA WRAPPER smartlead OPTIONS (connect_timeout '2h');
CREATE SERVER bad FOREIGN DATA WRAPPER smartlead OPTIONS (max_retries '-1');
CREATE SERVER bad FOREIGN DATA WRAPPER smartlead OPTIONS (max_wait '2h');
CREATE SERVER bad FOREIGN DATA WRAPPER smartlead OPTIONS (fetch_concurrency '33');
CREATE SERVER bad FOREIGN DATA WRAPPER smartlead OPTIONS (rate_limit 'a lot');
CREATE SERVER bad FOREIGN DATA WRAPPER smartlead OPTIONS (rate_limit '0/1s');
CREATE SERVER bad FOREIGN DATA WRAPPER smartlead OPTIONS (rate_limit '1/1s,2/2s,3/3s,4/4s,5/5s');
CREATE SERVER bad FOREIGN DATA WRAPPER smartlead OPTIONS (ca_file 'relative.pem');
CREATE USER MAPPING FOR PUBLIC SERVER sandbox OPTIONS (api_key '');
CREATE USER MAPPING FOR PUBLIC SERVER sandbox OPTIONS (api_key 'with a space');
CREATE USER MAPPING FOR PUBLIC SERVER sandbox OPTIONS (base_url 'https://x.example');

-- Good ones.
CREATE SERVER good FOREIGN DATA WRAPPER smartlead OPTIONS (
	timeout '45s', connect_timeout '500ms', max_retries '0', max_wait '0', fetch_concurrency '1',
	rate_limit '120/60s, 3000/1h, 20/1s', ca_file '/etc/ssl/certs/ca-certificates.crt');
ALTER SERVER good OPTIONS (SET rate_limit 'none', SET timeout '2min', DROP ca_file);

-- Ping: one row, whatever Smartlead says.
SELECT connection_name, ok, http_status, latency_ms > 0 AS took_time, rate_limit, message FROM smartlead_ping();
SELECT connection_name, ok, http_status, message FROM smartlead_ping('sandbox');

-- Which connection? The only usable one; else the setting; else the argument.
SELECT ok FROM smartlead_ping('nosuch');
SELECT ok FROM smartlead_ping('good');
CREATE SERVER beta FOREIGN DATA WRAPPER smartlead OPTIONS (base_url :'sandbox_url', rate_limit 'none');
CREATE USER MAPPING FOR CURRENT_USER SERVER beta OPTIONS (api_key 'sandbox-key-beta');
SELECT ok FROM smartlead_ping();
SET smartlead.connection = 'beta';
SELECT id, name FROM smartlead_list_campaigns();
SELECT id, name FROM smartlead_list_campaigns(connection => 'sandbox') ORDER BY id LIMIT 2;
RESET smartlead.connection;
CREATE FOREIGN DATA WRAPPER regress_other;
CREATE SERVER regress_foreign FOREIGN DATA WRAPPER regress_other;
SELECT ok FROM smartlead_ping('regress_foreign');
DROP FOREIGN DATA WRAPPER regress_other CASCADE;

-- A bad key, and a plan without API.
ALTER USER MAPPING FOR CURRENT_USER SERVER beta OPTIONS (SET api_key 'sandbox-key-nobody');
SELECT ok, http_status, message FROM smartlead_ping('beta');
SELECT * FROM smartlead_list_campaigns(connection => 'beta');
\echo :LAST_ERROR_SQLSTATE
ALTER USER MAPPING FOR CURRENT_USER SERVER beta OPTIONS (SET api_key 'sandbox-key-noaccess');
SELECT * FROM smartlead_list_campaigns(connection => 'beta');
\echo :LAST_ERROR_SQLSTATE
ALTER USER MAPPING FOR CURRENT_USER SERVER beta OPTIONS (DROP api_key);
SELECT * FROM smartlead_list_campaigns(connection => 'beta');
