
/*
 * Automations: events that enqueue actions.
 */
CREATE TABLE @extschema@.smartlead_automations (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	owner @extschema@.smartlead_role NOT NULL,
	event_type text NOT NULL,
	action text NOT NULL,
	args jsonb NOT NULL,
	condition jsonpath,
	connection name,
	max_per_hour integer NOT NULL CHECK (max_per_hour > 0),
	created_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
	condition_error text,
	condition_failed_at timestamptz
);

CREATE INDEX smartlead_automations_event_type ON @extschema@.smartlead_automations (event_type);

COMMENT ON TABLE @extschema@.smartlead_automations IS
'What is enqueued for which events. Changed by smartlead_automate() and smartlead_drop_automation().';
COMMENT ON COLUMN @extschema@.smartlead_automations.id IS 'For smartlead_drop_automation(); smartlead_queue.automation_id.';
COMMENT ON COLUMN @extschema@.smartlead_automations.owner IS 'The role that made it: its rights and API key are used.';
COMMENT ON COLUMN @extschema@.smartlead_automations.event_type IS 'The type of event, as in smartlead_events.kind.';
COMMENT ON COLUMN @extschema@.smartlead_automations.action IS 'The action, as for smartlead_enqueue().';
COMMENT ON COLUMN @extschema@.smartlead_automations.args IS 'Its arguments; texts that begin with $ are filled from the event.';
COMMENT ON COLUMN @extschema@.smartlead_automations.condition IS 'Enqueue only if this finds something in the payload, other than false or null; NULL: always.';
COMMENT ON COLUMN @extschema@.smartlead_automations.connection IS 'Events of this connection alone; NULL: of every one, and the action goes to the event''s own.';
COMMENT ON COLUMN @extschema@.smartlead_automations.max_per_hour IS 'How often within an hour it may act on the same lead: what ends a loop.';
COMMENT ON COLUMN @extschema@.smartlead_automations.created_at IS 'When it was made.';
COMMENT ON COLUMN @extschema@.smartlead_automations.condition_error IS 'What went wrong when the condition was last tried on an event: for that event, nothing was enqueued.';
COMMENT ON COLUMN @extschema@.smartlead_automations.condition_failed_at IS 'When that was; written no more than once a minute.';

CREATE TRIGGER smartlead_content_changed
	AFTER INSERT OR UPDATE OF event_type OR DELETE OR TRUNCATE ON @extschema@.smartlead_automations
	FOR EACH STATEMENT EXECUTE FUNCTION @extschema@.smartlead_content_changed();

SELECT pg_catalog.pg_extension_config_dump('@extschema@.smartlead_automations', '');
SELECT pg_catalog.pg_extension_config_dump('@extschema@.smartlead_automations_id_seq', '');

ALTER TABLE @extschema@.smartlead_automations ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_automations ON @extschema@.smartlead_automations
	USING (pg_catalog.pg_has_role(owner, 'MEMBER'));
CREATE POLICY administrators ON @extschema@.smartlead_automations TO smartlead_admin USING (true);

COMMENT ON POLICY own_automations ON @extschema@.smartlead_automations IS 'automations of the roles that the user belongs to';
COMMENT ON POLICY administrators ON @extschema@.smartlead_automations IS 'members of smartlead_admin see and end all';

CREATE FUNCTION @extschema@.smartlead_automate(
	event_type text,
	action text,
	args jsonb,
	condition jsonpath DEFAULT NULL,
	max_per_hour integer DEFAULT 20,
	connection name DEFAULT NULL)
RETURNS bigint
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION @extschema@.smartlead_automate(text, text, jsonb, jsonpath, integer, name) IS
'enqueues an action, as the current user, for each event of a type from now on. In args, "$lead_id" stands for that column of smartlead_events, "$.a.b" for a value of its payload; {"value": ...} keeps a text that begins with $. The condition is looked for in the payload; what goes wrong with it is seen in smartlead_list_automations(). Returns the automation''s number';

CREATE FUNCTION @extschema@.smartlead_drop_automation(automation bigint)
RETURNS boolean
AS $$
	WITH dropped AS (
		DELETE FROM @extschema@.smartlead_automations WHERE id OPERATOR(pg_catalog.=) automation RETURNING id)
	SELECT EXISTS (SELECT FROM dropped);
$$ LANGUAGE sql STRICT VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp;

COMMENT ON FUNCTION @extschema@.smartlead_drop_automation(bigint) IS
'ends an automation; the jobs that it has enqueued stay. False: there is none with that number';

CREATE FUNCTION @extschema@.smartlead_list_automations(
	OUT id bigint,
	OUT owner regrole,
	OUT event_type text,
	OUT action text,
	OUT args jsonb,
	OUT condition jsonpath,
	OUT connection name,
	OUT max_per_hour integer,
	OUT waiting bigint,
	OUT done bigint,
	OUT failed bigint,
	OUT last_error text,
	OUT condition_error text,
	OUT condition_failed_at timestamptz)
RETURNS SETOF record
AS $$
	SELECT a.id, a.owner::pg_catalog.regrole, a.event_type, a.action, a.args, a.condition, a.connection, a.max_per_hour,
	       j.waiting, j.done, j.failed, j.last_error, a.condition_error, a.condition_failed_at
	  FROM @extschema@.smartlead_automations a,
	       LATERAL (
	           SELECT pg_catalog.count(*) FILTER (WHERE q.state OPERATOR(pg_catalog.=) ANY ('{ready,running}'::pg_catalog.text[])) AS waiting,
	                  pg_catalog.count(*) FILTER (WHERE q.state OPERATOR(pg_catalog.=) 'done') AS done,
	                  pg_catalog.count(*) FILTER (WHERE q.state OPERATOR(pg_catalog.=) 'failed') AS failed,
	                  (pg_catalog.array_agg(q.last_error ORDER BY q.id DESC) FILTER (WHERE q.last_error IS NOT NULL))[1] AS last_error
	             FROM @extschema@.smartlead_queue q
	            WHERE q.automation_id OPERATOR(pg_catalog.=) a.id) j
	 ORDER BY a.id;
$$ LANGUAGE sql STABLE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp;

COMMENT ON FUNCTION @extschema@.smartlead_list_automations() IS
'the automations that the current user may see, and what became of their jobs that are still kept';

REVOKE ALL ON @extschema@.smartlead_automations FROM PUBLIC;
REVOKE ALL ON FUNCTION
	@extschema@.smartlead_automate(text, text, jsonb, jsonpath, integer, name),
	@extschema@.smartlead_drop_automation(bigint),
	@extschema@.smartlead_list_automations() FROM PUBLIC;
GRANT SELECT, DELETE ON @extschema@.smartlead_automations TO smartlead_admin;
GRANT EXECUTE ON FUNCTION
	@extschema@.smartlead_automate(text, text, jsonb, jsonpath, integer, name),
	@extschema@.smartlead_drop_automation(bigint),
	@extschema@.smartlead_list_automations() TO smartlead_admin;
