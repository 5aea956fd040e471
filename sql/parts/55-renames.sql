
/* A connection that is renamed takes along what holds its name. */
CREATE FUNCTION @extschema@.smartlead_server_renamed()
RETURNS event_trigger
AS 'MODULE_PATHNAME' LANGUAGE C;

COMMENT ON FUNCTION @extschema@.smartlead_server_renamed() IS
'gives jobs, automations, webhooks and events the new name of their connection';

REVOKE ALL ON FUNCTION @extschema@.smartlead_server_renamed() FROM PUBLIC;

CREATE EVENT TRIGGER smartlead_server_renamed ON ddl_command_end
	WHEN TAG IN ('ALTER SERVER')
	EXECUTE FUNCTION @extschema@.smartlead_server_renamed();

COMMENT ON EVENT TRIGGER smartlead_server_renamed IS
'gives jobs, automations, webhooks and events the new name of a connection that is renamed';
