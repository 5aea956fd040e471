/*
 * The endpoint table: what can be asked of Smartlead, and how.
 */
CREATE FUNCTION @extschema@.smartlead_endpoints(
	OUT name text,
	OUT kind text,
	OUT method text,
	OUT path text,
	OUT arguments text[],
	OUT types text[],
	OUT required boolean[],
	OUT repeatable boolean,
	OUT internal boolean,
	OUT administrators boolean,
	OUT known_from text,
	OUT doubt text,
	OUT host text,
	OUT costs text)
RETURNS SETOF record
AS 'MODULE_PATHNAME' LANGUAGE C STABLE PARALLEL SAFE ROWS 50;

COMMENT ON FUNCTION @extschema@.smartlead_endpoints() IS
'the endpoint table, as the view smartlead_endpoints shows it';

CREATE VIEW @extschema@.smartlead_endpoints WITH (security_barrier = true) AS
SELECT e.name, e.kind, e.host, e.method, e.path, e.arguments, e.types, e.required, e.repeatable, e.administrators, e.costs,
       pg_catalog.string_to_array(e.known_from, ', ') AS known_from, e.doubt, e.internal
  FROM @extschema@.smartlead_endpoints() e;

COMMENT ON VIEW @extschema@.smartlead_endpoints IS
'what can be asked of Smartlead, a row for each form of each function; docs/endpoints.md tells more';
COMMENT ON COLUMN @extschema@.smartlead_endpoints.name IS 'the action as jobs name it, and as its function is named after "smartlead_"';
COMMENT ON COLUMN @extschema@.smartlead_endpoints.kind IS 'action: changes something; lookup: one object or none; listing: rows';
COMMENT ON COLUMN @extschema@.smartlead_endpoints.method IS 'of HTTP';
COMMENT ON COLUMN @extschema@.smartlead_endpoints.path IS 'below the host''s URL; {argument} stands for its value';
COMMENT ON COLUMN @extschema@.smartlead_endpoints.host IS
'whom it asks: core, at the option base_url of the server; smart delivery, smart senders, smart prospect, smart servers, at options of their own';
COMMENT ON COLUMN @extschema@.smartlead_endpoints.costs IS 'what a call costs besides time; then it is for smartlead_admin, and never repeated';
COMMENT ON COLUMN @extschema@.smartlead_endpoints.arguments IS 'of the function and of jobs, in the order of the function';
COMMENT ON COLUMN @extschema@.smartlead_endpoints.types IS 'of the arguments';
COMMENT ON COLUMN @extschema@.smartlead_endpoints.required IS 'which of the arguments must be given';
COMMENT ON COLUMN @extschema@.smartlead_endpoints.repeatable IS 'is it sent again when its outcome is in doubt?';
COMMENT ON COLUMN @extschema@.smartlead_endpoints.administrators IS 'only smartlead_admin may call it';
COMMENT ON COLUMN @extschema@.smartlead_endpoints.known_from IS
'where the route is known from: documentation: Smartlead''s; reference: its former one; cli, mcp: its own programs; clients: programs of others that are in use';
COMMENT ON COLUMN @extschema@.smartlead_endpoints.doubt IS 'what speaks against the route';
COMMENT ON COLUMN @extschema@.smartlead_endpoints.internal IS 'serves the extension itself: there is no function, and no job can name it';

REVOKE ALL ON FUNCTION @extschema@.smartlead_endpoints() FROM PUBLIC;
REVOKE ALL ON @extschema@.smartlead_endpoints FROM PUBLIC;
GRANT EXECUTE ON FUNCTION @extschema@.smartlead_endpoints() TO smartlead_user;
GRANT SELECT ON @extschema@.smartlead_endpoints TO smartlead_user;
