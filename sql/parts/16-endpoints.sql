/*
 * The endpoint table: what can be asked of Smartlead, and how.
 */
CREATE FUNCTION smartlead_endpoints(
	OUT name text,
	OUT kind text,
	OUT method text,
	OUT path text,
	OUT arguments text[],
	OUT types text[],
	OUT required boolean[],
	OUT repeatable boolean,
	OUT internal boolean)
RETURNS SETOF record
AS 'MODULE_PATHNAME' LANGUAGE C STABLE PARALLEL SAFE ROWS 50;

COMMENT ON FUNCTION smartlead_endpoints() IS
'what can be asked of Smartlead: the action as functions (without smartlead_) and jobs name it, method and path, its arguments with their types, which of them are required, and whether it is repeated when an outcome is in doubt; internal ones serve the extension itself';

REVOKE ALL ON FUNCTION smartlead_endpoints() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION smartlead_endpoints() TO smartlead_user;
