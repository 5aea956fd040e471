/*
 * Connections: a server of this wrapper is a Smartlead workspace, a user mapping holds the API key.
 */
CREATE FUNCTION smartlead_fdw_validator(options text[], catalog oid)
RETURNS void
AS 'MODULE_PATHNAME' LANGUAGE C STRICT;

COMMENT ON FUNCTION smartlead_fdw_validator(text[], oid) IS
'checks the options of servers and user mappings of the foreign data wrapper smartlead';

CREATE FOREIGN DATA WRAPPER smartlead VALIDATOR smartlead_fdw_validator;

COMMENT ON FOREIGN DATA WRAPPER smartlead IS
'Smartlead workspaces: CREATE SERVER ... FOREIGN DATA WRAPPER smartlead, with the API key in a user mapping';

CREATE FUNCTION smartlead_ping(
	connection name DEFAULT NULL,
	OUT connection_name text,
	OUT base_url text,
	OUT ok boolean,
	OUT http_status integer,
	OUT latency_ms numeric,
	OUT rate_limit text,
	OUT message text)
RETURNS record
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 100000;

COMMENT ON FUNCTION smartlead_ping(name) IS
'does the connection work? One row: whether Smartlead accepts the key, how fast it answers, and what is wrong if it does not. Never raises for what Smartlead says';

CREATE FUNCTION smartlead_request(
	method text,
	path text,
	query jsonb DEFAULT NULL,
	body jsonb DEFAULT NULL,
	connection name DEFAULT NULL)
RETURNS jsonb
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 100000;

COMMENT ON FUNCTION smartlead_request(text, text, jsonb, jsonb, name) IS
'any request to Smartlead, for what has no function yet: method, path below base_url, query as a JSON object, body. The API key is added by itself';

REVOKE ALL ON FUNCTION smartlead_ping(name) FROM PUBLIC;
REVOKE ALL ON FUNCTION smartlead_request(text, text, jsonb, jsonb, name) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION smartlead_ping(name) TO smartlead_user;
GRANT EXECUTE ON FUNCTION smartlead_request(text, text, jsonb, jsonb, name) TO smartlead_admin;
