
/*
 * The queue: actions that are performed after the commit of the transaction that asked for them.
 *
 * The table is written by the extension's functions and by its dispatcher alone. Users read their
 * own rows; members of smartlead_admin read all.
 */
CREATE SEQUENCE @extschema@.smartlead_queue_id_seq;

COMMENT ON SEQUENCE @extschema@.smartlead_queue_id_seq IS
'The numbers of the jobs in smartlead_queue.';

CREATE FUNCTION @extschema@.smartlead_home()
RETURNS bigint
AS 'MODULE_PATHNAME' LANGUAGE C STABLE PARALLEL SAFE;

COMMENT ON FUNCTION @extschema@.smartlead_home() IS
'a number that stands for the queue of this database of this cluster: the home of the jobs that are enqueued here';

/* src/queue/queue.h numbers these columns. */
CREATE TABLE @extschema@.smartlead_queue (
	id bigint NOT NULL DEFAULT pg_catalog.nextval('@extschema@.smartlead_queue_id_seq'),
	state text NOT NULL DEFAULT 'ready'
		CHECK (state IN ('ready', 'running', 'done', 'failed', 'cancelled')),
	action text NOT NULL,
	args jsonb NOT NULL,
	connection name NOT NULL,
	run_as @extschema@.smartlead_role NOT NULL,
	lead_id bigint,
	join_key text,
	priority smallint NOT NULL DEFAULT 5 CHECK (priority BETWEEN 1 AND 9),
	run_at timestamptz NOT NULL,
	due_at timestamptz NOT NULL,
	attempts integer NOT NULL DEFAULT 0,
	failures integer NOT NULL DEFAULT 0,
	in_doubt boolean NOT NULL DEFAULT false,
	requests_shared integer,
	response jsonb,
	last_error text,
	sqlstate text,
	automation_id bigint,
	event_id bigint,
	event_subject text,
	created_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	started_at timestamptz,
	finished_at timestamptz,
	run_as_name name NOT NULL,
	home bigint NOT NULL DEFAULT @extschema@.smartlead_home(),
	interrupted integer NOT NULL DEFAULT 0,
	CONSTRAINT smartlead_queue_pkey PRIMARY KEY (id)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);

ALTER SEQUENCE @extschema@.smartlead_queue_id_seq OWNED BY @extschema@.smartlead_queue.id;

/* What a role may be served next on a connection, a lane of the dispatcher: of a priority, what is tried again first. */
CREATE INDEX smartlead_queue_ready ON @extschema@.smartlead_queue (connection, run_as, priority, (attempts = 0), due_at, id)
	INCLUDE (action) WHERE state = 'ready';
/* What goes before a job on the same lead. */
CREATE INDEX smartlead_queue_lead ON @extschema@.smartlead_queue (connection, run_as, lead_id, run_at, id)
	WHERE lead_id IS NOT NULL AND state IN ('ready', 'running');
/* What may share a request. */
CREATE INDEX smartlead_queue_join ON @extschema@.smartlead_queue (connection, run_as, join_key, due_at, id)
	WHERE join_key IS NOT NULL AND state IN ('ready', 'running');
/* What a dispatcher that died left behind. */
CREATE INDEX smartlead_queue_running ON @extschema@.smartlead_queue (id)
	WHERE state = 'running';
/* What retention deletes, and what smartlead_stat_queue counts. */
CREATE INDEX smartlead_queue_finished ON @extschema@.smartlead_queue (finished_at)
	INCLUDE (connection, run_as, action, state) WHERE finished_at IS NOT NULL;
CREATE INDEX smartlead_queue_ended ON @extschema@.smartlead_queue (connection, run_as, action, state)
	WHERE finished_at IS NOT NULL;
CREATE INDEX smartlead_queue_error ON @extschema@.smartlead_queue (connection, run_as, action, started_at DESC NULLS LAST)
	WHERE last_error IS NOT NULL;
CREATE INDEX smartlead_queue_automation ON @extschema@.smartlead_queue (automation_id, event_subject, created_at)
	WHERE automation_id IS NOT NULL;

COMMENT ON TABLE @extschema@.smartlead_queue IS
'Jobs: actions at Smartlead that the dispatcher performs after commit. A user sees the jobs of the roles it belongs to, members of smartlead_admin see all.';
COMMENT ON COLUMN @extschema@.smartlead_queue.id IS 'The job''s number, as smartlead_enqueue() returned it.';
COMMENT ON COLUMN @extschema@.smartlead_queue.state IS
'ready: waits for its turn; running: being performed; done; failed: given up, the dead letter; cancelled: by smartlead_cancel().';
COMMENT ON COLUMN @extschema@.smartlead_queue.action IS 'The action: a function''s name without "smartlead_".';
COMMENT ON COLUMN @extschema@.smartlead_queue.args IS 'The action''s arguments by name.';
COMMENT ON COLUMN @extschema@.smartlead_queue.connection IS 'The connection, by which Smartlead is asked.';
COMMENT ON COLUMN @extschema@.smartlead_queue.run_as IS 'The role that enqueued the job: its rights and its API key are used.';
COMMENT ON COLUMN @extschema@.smartlead_queue.lead_id IS 'The lead that the action is about. A role''s jobs on one lead of a connection run one after the other, by run_at and id.';
COMMENT ON COLUMN @extschema@.smartlead_queue.join_key IS 'Jobs of one role, connection and key may share a request.';
COMMENT ON COLUMN @extschema@.smartlead_queue.priority IS '1 goes first, 9 last, among the jobs of a role on a connection. What is tried again goes first among its equals.';
COMMENT ON COLUMN @extschema@.smartlead_queue.run_at IS 'Not before this time.';
COMMENT ON COLUMN @extschema@.smartlead_queue.due_at IS 'When the next attempt is due: run_at, later after a failed attempt.';
COMMENT ON COLUMN @extschema@.smartlead_queue.attempts IS 'How often it was attempted.';
COMMENT ON COLUMN @extschema@.smartlead_queue.failures IS 'How many attempts failed for what should have passed, although other jobs of the action got through meanwhile. At smartlead.queue_max_attempts the job fails.';
COMMENT ON COLUMN @extschema@.smartlead_queue.in_doubt IS 'An earlier attempt may have been processed by Smartlead although no answer came.';
COMMENT ON COLUMN @extschema@.smartlead_queue.requests_shared IS 'How many jobs were performed by the same request; NULL: it had its own.';
COMMENT ON COLUMN @extschema@.smartlead_queue.response IS 'What Smartlead answered when it was done; of a lookup NULL: nothing was found.';
COMMENT ON COLUMN @extschema@.smartlead_queue.last_error IS 'Why the last attempt failed, with Smartlead''s words.';
COMMENT ON COLUMN @extschema@.smartlead_queue.sqlstate IS 'The class of the last error, as the functions raise it.';
COMMENT ON COLUMN @extschema@.smartlead_queue.automation_id IS 'The automation that enqueued the job, if one did.';
COMMENT ON COLUMN @extschema@.smartlead_queue.event_id IS 'The event for which the automation did so.';
COMMENT ON COLUMN @extschema@.smartlead_queue.event_subject IS 'Whom or what that event is about: the guard against loops counts by it.';
COMMENT ON COLUMN @extschema@.smartlead_queue.created_at IS 'When it was enqueued.';
COMMENT ON COLUMN @extschema@.smartlead_queue.started_at IS 'When the last attempt began.';
COMMENT ON COLUMN @extschema@.smartlead_queue.finished_at IS 'When it was done, failed or cancelled.';
COMMENT ON COLUMN @extschema@.smartlead_queue.run_as_name IS 'The name of run_as when the job was enqueued. Where a dump is loaded and the role is missing, the job waits for a role of this name.';
COMMENT ON COLUMN @extschema@.smartlead_queue.interrupted IS 'How often the server or its dispatcher has ended while the job was running. What may be the reason for that is not tried for ever: after five times the job fails.';
COMMENT ON COLUMN @extschema@.smartlead_queue.home IS 'In which queue it was enqueued. Jobs that were copied from elsewhere wait for smartlead_adopt_queue().';

CREATE TABLE @extschema@.smartlead_queue_home (
	home bigint NOT NULL,
	system_identifier bigint NOT NULL,
	database oid NOT NULL,
	database_name name NOT NULL,
	since timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);
/* A dump that is loaded adds a row, even the same one, and a subscription does; that is the point. */
ALTER TABLE @extschema@.smartlead_queue_home REPLICA IDENTITY FULL;
INSERT INTO @extschema@.smartlead_queue_home
SELECT @extschema@.smartlead_home(), c.system_identifier, d.oid, d.datname
  FROM pg_catalog.pg_control_system() c, pg_catalog.pg_database d
 WHERE d.datname = pg_catalog.current_database();

COMMENT ON TABLE @extschema@.smartlead_queue_home IS
'Whose queue it is. The dispatcher performs jobs while there is one row, this database''s own; a copy of the queue brings its original''s. Changed by smartlead_adopt_queue().';
COMMENT ON COLUMN @extschema@.smartlead_queue_home.home IS 'As in smartlead_queue.';
COMMENT ON COLUMN @extschema@.smartlead_queue_home.system_identifier IS 'Of the cluster, as pg_control_system() tells it.';
COMMENT ON COLUMN @extschema@.smartlead_queue_home.database IS 'The database''s number there.';
COMMENT ON COLUMN @extschema@.smartlead_queue_home.database_name IS 'Its name then.';
COMMENT ON COLUMN @extschema@.smartlead_queue_home.since IS 'Since when.';

/* Connections of which a role's jobs wait because its key is refused. */
CREATE TABLE @extschema@.smartlead_queue_paused (
	connection name NOT NULL,
	run_as @extschema@.smartlead_role NOT NULL,
	paused_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	reason text NOT NULL,
	sqlstate text NOT NULL,
	version text NOT NULL,
	CONSTRAINT smartlead_queue_paused_pkey PRIMARY KEY (connection, run_as)
);

COMMENT ON TABLE @extschema@.smartlead_queue_paused IS
'Connections on which a role''s jobs wait because Smartlead refuses its key or its rights are gone. They go on when the connection or the user mapping changes, when Smartlead accepts the key again, or by smartlead_resume_connection().';
COMMENT ON COLUMN @extschema@.smartlead_queue_paused.connection IS 'The connection.';
COMMENT ON COLUMN @extschema@.smartlead_queue_paused.run_as IS 'The role whose jobs wait.';
COMMENT ON COLUMN @extschema@.smartlead_queue_paused.paused_at IS 'Since when.';
COMMENT ON COLUMN @extschema@.smartlead_queue_paused.reason IS 'Why.';
COMMENT ON COLUMN @extschema@.smartlead_queue_paused.sqlstate IS 'The class of the error.';
COMMENT ON COLUMN @extschema@.smartlead_queue_paused.version IS 'Which state of the connection and the user mapping was refused; the jobs go on with another one.';

SELECT pg_catalog.pg_extension_config_dump('@extschema@.smartlead_queue_home', '');
SELECT pg_catalog.pg_extension_config_dump('@extschema@.smartlead_queue', '');
SELECT pg_catalog.pg_extension_config_dump('@extschema@.smartlead_queue_id_seq', '');

ALTER TABLE @extschema@.smartlead_queue ENABLE ROW LEVEL SECURITY;
ALTER TABLE @extschema@.smartlead_queue_paused ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_jobs ON @extschema@.smartlead_queue FOR SELECT
	USING (pg_catalog.pg_has_role(run_as, 'MEMBER'));
CREATE POLICY own_jobs ON @extschema@.smartlead_queue_paused FOR SELECT
	USING (pg_catalog.pg_has_role(run_as, 'MEMBER'));
CREATE POLICY administrators ON @extschema@.smartlead_queue FOR SELECT TO smartlead_admin USING (true);
CREATE POLICY administrators ON @extschema@.smartlead_queue_paused FOR SELECT TO smartlead_admin USING (true);

COMMENT ON POLICY own_jobs ON @extschema@.smartlead_queue IS 'jobs of the roles that the reader belongs to';
COMMENT ON POLICY own_jobs ON @extschema@.smartlead_queue_paused IS 'pauses of the roles that the reader belongs to';
COMMENT ON POLICY administrators ON @extschema@.smartlead_queue IS 'members of smartlead_admin see all';
COMMENT ON POLICY administrators ON @extschema@.smartlead_queue_paused IS 'members of smartlead_admin see all';

CREATE FUNCTION @extschema@.smartlead_enqueue(
	action text,
	args jsonb,
	run_at timestamptz DEFAULT NULL,
	connection name DEFAULT NULL,
	priority integer DEFAULT NULL)
RETURNS bigint
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION @extschema@.smartlead_enqueue(text, jsonb, timestamptz, name, integer) IS
'enqueues an action: after commit, not before run_at, the dispatcher performs it as the current user. The action is the name of a function without "smartlead_", args are its arguments by name. Priority 1 goes first, 9 last; NULL: 3 for what keeps mail from people (unsubscribing, blocking), 5 for all else. Returns the job''s number. Raises at once for unknown, missing and mistyped arguments and without the right to the connection';

CREATE FUNCTION @extschema@.smartlead_cancel(job bigint)
RETURNS boolean
AS 'MODULE_PATHNAME' LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION @extschema@.smartlead_cancel(bigint) IS
'cancels a job that waits for its turn. False when it is too late: it is running or has ended';

CREATE FUNCTION @extschema@.smartlead_requeue(job bigint)
RETURNS boolean
AS 'MODULE_PATHNAME' LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION @extschema@.smartlead_requeue(bigint) IS
'makes a failed or cancelled job ready again, with all its attempts, and lets its connection go on if it was paused for that role. False when the job is in another state';

CREATE FUNCTION @extschema@.smartlead_wait(job bigint, timeout interval DEFAULT '1 minute')
RETURNS @extschema@.smartlead_queue
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE COST 100000;

COMMENT ON FUNCTION @extschema@.smartlead_wait(bigint, interval) IS
'waits until a job has ended, at most the time given (NULL: without limit), and returns its row: look at "state". The job must have been enqueued by a transaction that has committed';

CREATE FUNCTION @extschema@.smartlead_resume_connection(connection name)
RETURNS integer
AS 'MODULE_PATHNAME' LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION @extschema@.smartlead_resume_connection(name) IS
'lets the jobs of a paused connection go on: those of the roles that the current user belongs to, for members of smartlead_admin all. Returns for how many roles it was paused';

CREATE FUNCTION @extschema@.smartlead_adopt_queue()
RETURNS bigint
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION @extschema@.smartlead_adopt_queue() IS
'lets a queue that was copied here (a dump, CREATE DATABASE ... TEMPLATE, logical replication, pg_upgrade) go on here; its original must not perform the same jobs any more. Jobs that were running when it was copied end as "outcome unknown". Returns how many jobs from elsewhere are now to be performed here';

/* Each part is counted in an index of its own, and none reads a row of a job that has ended. */
CREATE VIEW @extschema@.smartlead_stat_queue WITH (security_barrier = true) AS
WITH waiting AS (
	SELECT connection, run_as, action, count(*) AS ready,
	       min(due_at) FILTER (WHERE due_at <= pg_catalog.now()) AS oldest_ready
	  FROM @extschema@.smartlead_queue
	 WHERE state = 'ready'
	 GROUP BY connection, run_as, action),
sent AS (
	SELECT connection, run_as, action, count(*) AS running
	  FROM @extschema@.smartlead_queue
	 WHERE state = 'running'
	 GROUP BY connection, run_as, action),
ended AS (
	SELECT connection, run_as, action,
	       count(*) FILTER (WHERE state = 'done') AS done,
	       count(*) FILTER (WHERE state = 'failed') AS failed,
	       count(*) FILTER (WHERE state = 'cancelled') AS cancelled
	  FROM @extschema@.smartlead_queue
	 WHERE finished_at IS NOT NULL
	 GROUP BY connection, run_as, action),
recent AS (
	SELECT connection, run_as, action,
	       count(*) FILTER (WHERE state = 'done' AND finished_at > pg_catalog.now() - interval '1 minute') AS done_last_minute,
	       count(*) FILTER (WHERE state = 'failed' AND finished_at > pg_catalog.now() - interval '1 minute') AS failed_last_minute,
	       count(*) FILTER (WHERE state = 'done') AS done_last_hour,
	       count(*) FILTER (WHERE state = 'failed') AS failed_last_hour
	  FROM @extschema@.smartlead_queue
	 WHERE finished_at > pg_catalog.now() - interval '1 hour'
	 GROUP BY connection, run_as, action),
jobs AS (
	SELECT connection, run_as, action FROM waiting
	UNION SELECT connection, run_as, action FROM sent
	UNION SELECT connection, run_as, action FROM ended)
SELECT j.connection,
       j.run_as,
       j.action,
       coalesce(w.ready, 0) AS ready,
       coalesce(s.running, 0) AS running,
       coalesce(e.done, 0) AS done,
       coalesce(e.failed, 0) AS failed,
       coalesce(e.cancelled, 0) AS cancelled,
       w.oldest_ready,
       coalesce(r.done_last_minute, 0) AS done_last_minute,
       coalesce(r.failed_last_minute, 0) AS failed_last_minute,
       coalesce(r.done_last_hour, 0) AS done_last_hour,
       coalesce(r.failed_last_hour, 0) AS failed_last_hour,
       (SELECT q.last_error
          FROM @extschema@.smartlead_queue q
         WHERE q.connection = j.connection AND q.run_as OPERATOR(pg_catalog.=) j.run_as AND q.action = j.action AND q.last_error IS NOT NULL
         ORDER BY q.started_at DESC NULLS LAST
         LIMIT 1) AS last_error,
       p.paused_at,
       p.reason AS paused_because
  FROM jobs j
  LEFT JOIN waiting w ON w.connection = j.connection AND w.run_as OPERATOR(pg_catalog.=) j.run_as AND w.action = j.action
  LEFT JOIN sent s ON s.connection = j.connection AND s.run_as OPERATOR(pg_catalog.=) j.run_as AND s.action = j.action
  LEFT JOIN ended e ON e.connection = j.connection AND e.run_as OPERATOR(pg_catalog.=) j.run_as AND e.action = j.action
  LEFT JOIN recent r ON r.connection = j.connection AND r.run_as OPERATOR(pg_catalog.=) j.run_as AND r.action = j.action
  LEFT JOIN @extschema@.smartlead_queue_paused p ON p.connection = j.connection AND p.run_as OPERATOR(pg_catalog.=) j.run_as
 WHERE pg_catalog.pg_has_role(j.run_as, 'MEMBER')
    OR (SELECT pg_catalog.bool_or(pg_catalog.pg_has_role(a.role, 'USAGE'))
          FROM pg_catalog.pg_policy p, pg_catalog.unnest(p.polroles) AS a (role)
         WHERE p.polrelid OPERATOR(pg_catalog.=) '@extschema@.smartlead_queue'::pg_catalog.regclass
           AND p.polname OPERATOR(pg_catalog.=) 'administrators');

COMMENT ON VIEW @extschema@.smartlead_stat_queue IS
'The queue per connection, role and action, as far as the current user may see it: how many jobs in which state, how fast they end, what went wrong last, and whether the connection is paused.';
COMMENT ON COLUMN @extschema@.smartlead_stat_queue.connection IS 'The connection.';
COMMENT ON COLUMN @extschema@.smartlead_stat_queue.run_as IS 'The role whose rights and key are used.';
COMMENT ON COLUMN @extschema@.smartlead_stat_queue.action IS 'The action.';
COMMENT ON COLUMN @extschema@.smartlead_stat_queue.ready IS 'Jobs that wait, also those for later.';
COMMENT ON COLUMN @extschema@.smartlead_stat_queue.running IS 'Jobs being performed.';
COMMENT ON COLUMN @extschema@.smartlead_stat_queue.done IS 'Jobs done, as far as they are kept (smartlead.queue_retention).';
COMMENT ON COLUMN @extschema@.smartlead_stat_queue.failed IS 'The dead letter, as far as it is kept.';
COMMENT ON COLUMN @extschema@.smartlead_stat_queue.cancelled IS 'Jobs cancelled, as far as they are kept.';
COMMENT ON COLUMN @extschema@.smartlead_stat_queue.oldest_ready IS 'Since when the job waits that is due longest.';
COMMENT ON COLUMN @extschema@.smartlead_stat_queue.done_last_minute IS 'Jobs done within the last minute.';
COMMENT ON COLUMN @extschema@.smartlead_stat_queue.failed_last_minute IS 'Jobs that failed for good within the last minute.';
COMMENT ON COLUMN @extschema@.smartlead_stat_queue.done_last_hour IS 'Jobs done within the last hour.';
COMMENT ON COLUMN @extschema@.smartlead_stat_queue.failed_last_hour IS 'Jobs that failed for good within the last hour.';
COMMENT ON COLUMN @extschema@.smartlead_stat_queue.last_error IS 'The error of the latest attempt that failed.';
COMMENT ON COLUMN @extschema@.smartlead_stat_queue.paused_at IS 'Since when these jobs wait because the key is refused, or a right or key is missing; NULL: they don''t.';
COMMENT ON COLUMN @extschema@.smartlead_stat_queue.paused_because IS 'Why they wait.';

REVOKE ALL ON SEQUENCE @extschema@.smartlead_queue_id_seq FROM PUBLIC;
REVOKE ALL ON @extschema@.smartlead_queue FROM PUBLIC;
REVOKE ALL ON @extschema@.smartlead_queue_paused FROM PUBLIC;
REVOKE ALL ON @extschema@.smartlead_stat_queue FROM PUBLIC;
REVOKE ALL ON FUNCTION @extschema@.smartlead_enqueue(text, jsonb, timestamptz, name, integer) FROM PUBLIC;
REVOKE ALL ON @extschema@.smartlead_queue_home FROM PUBLIC;
REVOKE ALL ON FUNCTION @extschema@.smartlead_home() FROM PUBLIC;
REVOKE ALL ON FUNCTION @extschema@.smartlead_adopt_queue() FROM PUBLIC;
REVOKE ALL ON FUNCTION @extschema@.smartlead_cancel(bigint) FROM PUBLIC;
REVOKE ALL ON FUNCTION @extschema@.smartlead_requeue(bigint) FROM PUBLIC;
REVOKE ALL ON FUNCTION @extschema@.smartlead_wait(bigint, interval) FROM PUBLIC;
REVOKE ALL ON FUNCTION @extschema@.smartlead_resume_connection(name) FROM PUBLIC;
GRANT SELECT ON @extschema@.smartlead_queue TO smartlead_user;
GRANT SELECT ON @extschema@.smartlead_queue_paused TO smartlead_user;
GRANT SELECT ON @extschema@.smartlead_queue_home TO smartlead_user;
GRANT SELECT ON @extschema@.smartlead_stat_queue TO smartlead_user;
GRANT EXECUTE ON FUNCTION @extschema@.smartlead_enqueue(text, jsonb, timestamptz, name, integer) TO smartlead_user;
GRANT EXECUTE ON FUNCTION @extschema@.smartlead_home() TO smartlead_user;
GRANT EXECUTE ON FUNCTION @extschema@.smartlead_adopt_queue() TO smartlead_admin;
GRANT EXECUTE ON FUNCTION @extschema@.smartlead_cancel(bigint) TO smartlead_user;
GRANT EXECUTE ON FUNCTION @extschema@.smartlead_requeue(bigint) TO smartlead_user;
GRANT EXECUTE ON FUNCTION @extschema@.smartlead_wait(bigint, interval) TO smartlead_user;
GRANT EXECUTE ON FUNCTION @extschema@.smartlead_resume_connection(name) TO smartlead_user;
