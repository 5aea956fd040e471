/*
 * queue/store.c
 *		The dispatcher's statements on the queue's tables. All of them within its transaction.
 *
 * The plans are made once and kept. A queue is empty at one moment and long at the next, so there
 * are no statistics to trust. The dispatcher's session therefore knows index scans and nested loops
 * only, and each statement fits one index alone: "state || ''" keeps a condition from fitting
 * another one, and "IS NOT TRUE" a subquery from becoming a join.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "api/problem.h"
#include "queue/home.h"
#include "queue/queue.h"
#include "queue/store.h"
#include "queue/trouble.h"
#include "worker/worker.h"

#define EXPIRE_BATCH 1000
#define ORPHANS_BATCH 1000
#define MAX_INTERRUPTED 5

/* Failures of its own after which a job no longer shares requests. */
#define SHARED_FAILURES 3

/* ---- statements ---- */

typedef struct Statement
{
	const char *text; /* %1$s: the extension's schema; %2$s: the home of its queue */
	int			n_args;
	Oid			types[10];
	SPIPlanPtr	plan;
} Statement;

/* An earlier job of the role on the same lead that has not ended. */
#define BLOCKED                                                                                    \
	"EXISTS (SELECT FROM %1$s.smartlead_queue e "                                                  \
	"WHERE e.connection = q.connection AND e.run_as = q.run_as AND e.lead_id = q.lead_id "         \
	"AND e.state IN ('ready', 'running') AND (e.run_at, e.id) < (q.run_at, q.id))"

/* With each one the first job on its lead. An urgent job that it holds up lends it its priority. */
static Statement candidates = {
	"SELECT q.id, q.due_at, h.id <> q.id, "
	"CASE WHEN h.priority > q.priority AND h.state = 'ready' AND h.due_at <= $3 THEN h.id END "
	"FROM %1$s.smartlead_queue q LEFT JOIN LATERAL ("
	"SELECT e.id, e.state, e.due_at, e.priority FROM %1$s.smartlead_queue e "
	"WHERE e.connection = q.connection AND e.run_as = q.run_as AND e.lead_id = q.lead_id "
	"AND e.state IN ('ready', 'running') ORDER BY e.run_at, e.id LIMIT 1) h ON true "
	"WHERE q.state = 'ready' AND q.home = %2$s AND q.connection = $1 AND q.run_as = $2 "
	"AND q.priority = $7 AND (q.attempts = 0) = $8 AND q.due_at <= $3 "
	"AND (q.due_at, q.id) > ($4, $5) ORDER BY q.due_at, q.id LIMIT $6",
	8,
	{NAMEOID, OIDOID, TIMESTAMPTZOID, TIMESTAMPTZOID, INT8OID, INT8OID, INT2OID, BOOLOID}};

/* What read_jobs() expects. */
#define JOB_COLUMNS                                                                                \
	"j.id, j.action, j.args, j.lead_id, j.join_key, j.priority, j.attempts, j.in_doubt, "          \
	"j.interrupted, j.failures, j.sqlstate"

static Statement claim = {
	"UPDATE %1$s.smartlead_queue j SET state = 'running', attempts = j.attempts + 1, "
	"started_at = pg_catalog.clock_timestamp() "
	"FROM (SELECT q.id, q.started_at FROM %1$s.smartlead_queue q WHERE q.id = ANY ($1) AND q.state "
	"|| '' = "
	"'ready' "
	"AND q.home = %2$s AND " BLOCKED
	" IS NOT TRUE ORDER BY q.priority, q.attempts = 0, q.due_at, q.id "
	"FOR UPDATE SKIP LOCKED) c WHERE j.id = c.id "
	"RETURNING " JOB_COLUMNS ", c.started_at",
	1,
	{INT8ARRAYOID}};

static Statement siblings = {
	"SELECT q.id FROM %1$s.smartlead_queue q WHERE q.state IN ('ready', 'running') "
	"AND q.state || '' = 'ready' AND q.connection = $1 AND q.run_as = $2 AND q.join_key = $3 "
	"AND q.due_at <= $4 ORDER BY q.due_at, q.id LIMIT $5",
	5,
	{NAMEOID, OIDOID, TEXTOID, TIMESTAMPTZOID, INT8OID}};

static Statement finish = {
	"UPDATE %1$s.smartlead_queue SET state = $2, "
	"in_doubt = in_doubt OR $3, last_error = $4, sqlstate = $5, response = $6, "
	"requests_shared = nullif($7, 1), finished_at = pg_catalog.clock_timestamp(), "
	"failures = failures + $8::integer WHERE id = ANY ($1) AND state = 'running'",
	8,
	{INT8ARRAYOID, TEXTOID, BOOLOID, TEXTOID, TEXTOID, JSONBOID, INT4OID, BOOLOID}};

/*
 * To be tried again: one second later, then twice as late each time, up to ten minutes, less what
 * $5 says; or at once, when the lane waits as a whole. Those in $2 have failed by themselves. What
 * shared a request, and has failed $8 times so, shares none any more.
 */
static Statement try_again = {
	"UPDATE %1$s.smartlead_queue q SET state = 'ready', "
	"due_at = CASE WHEN $4 THEN q.due_at ELSE $3 + $5 * least(pg_catalog.power(2, "
	"least(q.attempts, 11) - 1), 600) * '1 second'::interval END, "
	"in_doubt = q.in_doubt OR $6, last_error = $9, sqlstate = $10, "
	"failures = q.failures + (q.id = ANY ($2))::integer, "
	"join_key = CASE WHEN $7 AND q.id = ANY ($2) AND q.failures + 1 >= $8 THEN NULL "
	"ELSE q.join_key END WHERE q.id = ANY ($1) AND q.state = 'running' RETURNING q.due_at",
	10,
	{INT8ARRAYOID, INT8ARRAYOID, TIMESTAMPTZOID, BOOLOID, FLOAT8OID, BOOLOID, BOOLOID, INT4OID,
	 TEXTOID, TEXTOID}};

/* Ready as before the claim; or, of a shared request that was refused, without sharing again. */
static Statement give_back = {"UPDATE %1$s.smartlead_queue SET state = 'ready', "
							  "attempts = CASE WHEN $2 THEN attempts ELSE attempts - 1 END, "
							  "join_key = CASE WHEN $2 THEN NULL ELSE join_key END "
							  "WHERE id = ANY ($1) AND state = 'running'",
							  2,
							  {INT8ARRAYOID, BOOLOID}};

static Statement learn_lead = {
	"UPDATE %1$s.smartlead_queue q SET lead_id = $2 FROM (SELECT r.id "
	"FROM %1$s.smartlead_queue r WHERE r.id = $1 AND r.state || '' = 'running' "
	"FOR NO KEY UPDATE SKIP LOCKED) l WHERE q.id = l.id RETURNING EXISTS (SELECT "
	"FROM %1$s.smartlead_queue e WHERE e.connection = q.connection AND e.run_as = q.run_as "
	"AND e.lead_id = $2 AND e.state IN ('ready', 'running') AND (e.run_at, e.id) < (q.run_at, "
	"q.id))",
	2,
	{INT8OID, INT8OID}};

/*
 * Of each lead, the job whose turn it is, if it can run now; as urgent as the most urgent one behind
 * it, where there are several priorities.
 */
static Statement successors = {
	"SELECT n.id, CASE WHEN $5 THEN (SELECT pg_catalog.min(q.priority) "
	"FROM %1$s.smartlead_queue q WHERE q.connection = $1 AND q.run_as = $2 AND q.lead_id = l.lead "
	"AND q.state IN ('ready', 'running') AND q.due_at <= $4) ELSE n.priority END "
	"FROM pg_catalog.unnest($3) AS l (lead), "
	"LATERAL (SELECT q.id, q.state, q.due_at, q.priority FROM %1$s.smartlead_queue q "
	"WHERE q.connection = $1 AND q.run_as = $2 AND q.lead_id = l.lead "
	"AND q.state IN ('ready', 'running') "
	"ORDER BY q.run_at, q.id LIMIT 1) n WHERE n.state = 'ready' AND n.due_at <= $4",
	5,
	{NAMEOID, OIDOID, INT8ARRAYOID, TIMESTAMPTZOID, BOOLOID}};

/* The lanes and their turns, found one after the other by the index, however many jobs each has. */
static Statement lanes = {
	"WITH RECURSIVE turn AS ("
	"(SELECT connection, run_as, priority, attempts = 0 AS is_new FROM %1$s.smartlead_queue "
	"WHERE state = 'ready' ORDER BY connection, run_as, priority, (attempts = 0) LIMIT 1) "
	"UNION ALL "
	"SELECT n.connection, n.run_as, n.priority, n.is_new FROM turn t, LATERAL ("
	"SELECT q.connection, q.run_as, q.priority, q.attempts = 0 AS is_new "
	"FROM %1$s.smartlead_queue q WHERE q.state = 'ready' AND (q.connection, q.run_as, q.priority, "
	"(q.attempts = 0)) > (t.connection, t.run_as, t.priority, t.is_new) "
	"ORDER BY q.connection, q.run_as, q.priority, (q.attempts = 0) LIMIT 1) n) "
	"SELECT t.connection, t.run_as::pg_catalog.oid, t.priority, t.is_new, p.version, p.sqlstate, "
	"(SELECT q.due_at FROM %1$s.smartlead_queue q WHERE q.state = 'ready' "
	"AND q.connection = t.connection AND q.run_as = t.run_as AND q.priority = t.priority "
	"AND (q.attempts = 0) = t.is_new ORDER BY q.due_at LIMIT 1), "
	"(SELECT q.due_at FROM %1$s.smartlead_queue q WHERE q.state = 'ready' "
	"AND q.connection = t.connection AND q.run_as = t.run_as AND q.priority = t.priority "
	"AND (q.attempts = 0) = t.is_new AND q.due_at > $1 ORDER BY q.due_at LIMIT 1) "
	"FROM turn t LEFT JOIN %1$s.smartlead_queue_paused p "
	"ON p.connection = t.connection AND p.run_as = t.run_as",
	1,
	{TIMESTAMPTZOID}};

static Statement pause_lane = {
	"INSERT INTO %1$s.smartlead_queue_paused (connection, run_as, reason, sqlstate, "
	"version) SELECT $1, $2, $3, $4, $5 WHERE NOT EXISTS (SELECT FROM %1$s.smartlead_queue_paused "
	"WHERE connection = $1 AND run_as = $2)",
	5,
	{NAMEOID, OIDOID, TEXTOID, TEXTOID, TEXTOID}};

static Statement resume_lane = {
	"DELETE FROM %1$s.smartlead_queue_paused WHERE ctid = ANY (ARRAY (SELECT ctid "
	"FROM %1$s.smartlead_queue_paused WHERE connection = $1 AND run_as = $2 "
	"FOR UPDATE SKIP LOCKED))",
	2,
	{NAMEOID, OIDOID}};

static Statement left_behind = {"SELECT id FROM %1$s.smartlead_queue WHERE state = 'running' "
								"AND home = %2$s ORDER BY id",
								0,
								{0}};

/* One job that was left behind, unless somebody has its row locked. */
static Statement take_up = {
	"UPDATE %1$s.smartlead_queue j SET interrupted = j.interrupted + 1 FROM (SELECT q.id "
	"FROM %1$s.smartlead_queue q WHERE q.id = $1 AND q.state || '' = 'running' "
	"FOR NO KEY UPDATE SKIP LOCKED) l WHERE j.id = l.id "
	"RETURNING " JOB_COLUMNS ", NULL",
	1,
	{INT8OID}};

static Statement postpone = {
	"UPDATE %1$s.smartlead_queue SET due_at = pg_catalog.clock_timestamp() + "
	"$2 * interval '1 second' WHERE id = $1 AND state || '' = 'ready'",
	2,
	{INT8OID, INT4OID}};

/* Of these jobs, those that run; and among them those whose rows nobody else has locked. */
static Statement running = {
	"SELECT id FROM %1$s.smartlead_queue WHERE id = ANY ($1) AND state || '' = 'running'",
	1,
	{INT8ARRAYOID}};
static Statement lock_running = {
	"SELECT id FROM %1$s.smartlead_queue WHERE id = ANY ($1) AND state || '' = 'running' "
	"FOR NO KEY UPDATE SKIP LOCKED",
	1,
	{INT8ARRAYOID}};

static Statement fail_orphans = {
	"UPDATE %1$s.smartlead_queue SET state = 'failed', last_error = $3, sqlstate = $4, "
	"finished_at = pg_catalog.clock_timestamp() WHERE id = ANY (ARRAY (SELECT id "
	"FROM %1$s.smartlead_queue WHERE state = 'ready' AND home = %2$s AND connection = $1 "
	"AND run_as = $2 AND due_at <= $5 LIMIT $6 FOR UPDATE SKIP LOCKED))",
	6,
	{NAMEOID, OIDOID, TEXTOID, TEXTOID, TIMESTAMPTZOID, INT8OID}};

/* Some that ended long ago, behind those looked at before. */
static Statement expired = {
	"SELECT id, finished_at FROM %1$s.smartlead_queue WHERE finished_at < $1 "
	"AND finished_at >= $2 AND (finished_at, id) > ($2, $3) ORDER BY finished_at, id LIMIT $4 "
	"FOR UPDATE SKIP LOCKED",
	4,
	{TIMESTAMPTZOID, TIMESTAMPTZOID, INT8OID, INT8OID}};

static Statement expire = {
	"DELETE FROM %1$s.smartlead_queue WHERE id = ANY ($1)", 1, {INT8ARRAYOID}};

static Statement homes = {"SELECT home, database_name::pg_catalog.text, "
						  "system_identifier::pg_catalog.text FROM %1$s.smartlead_queue_home",
						  0,
						  {0}};

/* A database made from another one in which nothing was ever enqueued has copied nothing. */
static Statement settle = {
	"UPDATE %1$s.smartlead_queue_home h SET home = %2$s, database = d.oid, "
	"database_name = d.datname, since = pg_catalog.clock_timestamp() "
	"FROM pg_catalog.pg_database d, pg_catalog.pg_control_system() c "
	"WHERE d.datname = pg_catalog.current_database() AND h.database <> d.oid "
	"AND h.system_identifier = c.system_identifier "
	"AND (SELECT pg_catalog.count(*) = 1 FROM %1$s.smartlead_queue_home) "
	"AND NOT (SELECT s.is_called FROM %1$s.smartlead_queue_id_seq s) "
	"AND NOT EXISTS (SELECT FROM %1$s.smartlead_queue)",
	0,
	{0}};

/* A role that was missing when a dump was loaded has come. */
static Statement bind_roles = {"UPDATE %1$s.smartlead_queue j SET run_as = l.role "
							   "FROM (SELECT q.id, r.oid AS role FROM %1$s.smartlead_queue q "
							   "JOIN pg_catalog.pg_roles r ON r.rolname = q.run_as_name "
							   "WHERE q.state = 'ready' AND q.run_as = 0::pg_catalog.oid "
							   "AND q.home = %2$s FOR UPDATE OF q SKIP LOCKED) l "
							   "WHERE j.id = l.id",
							   0,
							   {0}};

static Statement *const statements[] = {
	&candidates, &claim,	  &siblings,	&finish,	  &give_back,	 &successors,
	&lanes,		 &pause_lane, &resume_lane, &left_behind, &fail_orphans, &expire,
	&expired,	 &homes,	  &take_up,		&postpone,	  &running,		 &lock_running,
	&settle,	 &bind_roles, &try_again,	&learn_lead};

/* For which the plans were made. */
static Oid	 schema = InvalidOid;
static int64 home = 0;

static void
forget_plans(void)
{
	for (int i = 0; i < lengthof(statements); i++)
	{
		if (statements[i]->plan != NULL)
			SPI_freeplan(statements[i]->plan);
		statements[i]->plan = NULL;
	}
}

bool
sl_store_open(void)
{
	Oid	  found = sl_extension_schema();
	Oid	  queue = OidIsValid(found) ? get_relname_relid(SL_QUEUE_TABLE, found) : InvalidOid;
	int64 here = sl_home(queue);

	if (!OidIsValid(queue))
		return false;
	if (found != schema || here != home)
		forget_plans();
	schema = found;
	home = here;
	return true;
}

Oid
sl_store_schema(void)
{
	return schema;
}

static void
execute(Statement *statement, Datum *values, const bool *nulls)
{
	char null_marks[11] = "          ";

	if (statement->plan == NULL)
	{
		char *number = psprintf("'" INT64_FORMAT "'::bigint", home);
		char *text =
			psprintf(statement->text, quote_identifier(get_namespace_name(schema)), number);

		statement->plan = SPI_prepare(text, statement->n_args, statement->types);
		if (statement->plan == NULL)
			elog(ERROR, "could not prepare a statement of the queue: %s",
				 SPI_result_code_string(SPI_result));
		SPI_keepplan(statement->plan);
	}
	for (int i = 0; nulls != NULL && i < statement->n_args; i++)
		null_marks[i] = nulls[i] ? 'n' : ' ';
	if (SPI_execute_plan(statement->plan, values, null_marks, false, 0) < 0)
		elog(ERROR, "could not execute a statement of the queue: %s",
			 SPI_result_code_string(SPI_result));
}

static Datum
column(int row, int number, bool *is_null)
{
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, number, is_null);
}

static Datum
id_array(const int64 *ids, int n)
{
	Datum *datums = palloc(sizeof(Datum) * Max(n, 1));

	for (int i = 0; i < n; i++)
		datums[i] = Int64GetDatum(ids[i]);
	return PointerGetDatum(
		construct_array(datums, n, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

/* The task's jobs in that state of writing. */
static Datum
job_ids(const SlTask *task, SlWriting writing)
{
	int64 *ids = palloc(sizeof(int64) * task->n_jobs);
	int	   n = 0;

	for (int i = 0; i < task->n_jobs; i++)
		if (task->jobs[i].writing == writing)
			ids[n++] = task->jobs[i].id;
	return id_array(ids, n);
}

/* ---- whose queue it is ---- */

char *
sl_store_foreign_home(void)
{
	char *foreign = NULL;
	bool  ours = false;
	bool  is_null;

	execute(&homes, NULL, NULL);
	ours = SPI_processed == 1 && DatumGetInt64(column(0, 1, &is_null)) == home;
	for (int i = 0; i < SPI_processed && !ours && foreign == NULL; i++)
		if (DatumGetInt64(column(i, 1, &is_null)) != home)
			foreign = psprintf("database \"%s\" of system %s",
							   TextDatumGetCString(column(i, 2, &is_null)),
							   TextDatumGetCString(column(i, 3, &is_null)));
	SPI_freetuptable(SPI_tuptable);
	return ours || foreign != NULL ? foreign : pstrdup("a dump");
}

bool
sl_store_settle(void)
{
	execute(&settle, NULL, NULL);
	return SPI_processed > 0;
}

bool
sl_store_bind_roles(void)
{
	execute(&bind_roles, NULL, NULL);
	return SPI_processed > 0;
}

/* ---- claiming ---- */

SlCandidate *
sl_store_candidates(const SlLane *lane, int turn, TimestampTz now, int max, int *n)
{
	const SlTurn *looked = &lane->turns[turn];
	Datum		  values[] = {NameGetDatum(&lane->connection),
							  ObjectIdGetDatum(lane->run_as),
							  TimestampTzGetDatum(now),
							  TimestampTzGetDatum(looked->cursor_due),
							  Int64GetDatum(looked->cursor_id),
							  Int64GetDatum(max),
							  Int16GetDatum(SL_TURN_PRIORITY(turn)),
							  BoolGetDatum(SL_TURN_IS_NEW(turn))};
	SlCandidate	 *found;
	bool		  is_null;

	execute(&candidates, values, NULL);
	*n = (int) SPI_processed;
	found = palloc(sizeof(SlCandidate) * Max(*n, 1));
	for (int i = 0; i < *n; i++)
	{
		Datum datum;

		found[i].id = DatumGetInt64(column(i, 1, &is_null));
		found[i].due_at = DatumGetTimestampTz(column(i, 2, &is_null));
		datum = column(i, 3, &is_null);
		found[i].is_blocked = !is_null && DatumGetBool(datum);
		datum = column(i, 4, &is_null);
		found[i].instead = is_null ? 0 : DatumGetInt64(datum);
	}
	SPI_freetuptable(SPI_tuptable);
	return found;
}

/* The jobs in the rows just fetched; they live in SPI's memory. */
static SlJob *
read_jobs(int *n)
{
	SlJob *jobs = palloc0(sizeof(SlJob) * Max(SPI_processed, 1));

	*n = (int) SPI_processed;
	for (int i = 0; i < *n; i++)
	{
		bool  is_null;
		Datum datum;

		jobs[i].id = DatumGetInt64(column(i, 1, &is_null));
		jobs[i].action = TextDatumGetCString(column(i, 2, &is_null));
		jobs[i].args = DatumGetJsonbPCopy(column(i, 3, &is_null));
		datum = column(i, 4, &is_null);
		jobs[i].lead_id = is_null ? 0 : DatumGetInt64(datum);
		datum = column(i, 5, &is_null);
		jobs[i].join_key = is_null ? NULL : TextDatumGetCString(datum);
		jobs[i].priority = DatumGetInt16(column(i, 6, &is_null));
		jobs[i].attempts = DatumGetInt32(column(i, 7, &is_null));
		jobs[i].in_doubt = DatumGetBool(column(i, 8, &is_null));
		jobs[i].interrupted = DatumGetInt32(column(i, 9, &is_null));
		jobs[i].failures = DatumGetInt32(column(i, 10, &is_null));
		datum = column(i, 11, &is_null);
		jobs[i].was_denied = !is_null && strcmp(TextDatumGetCString(datum),
												unpack_sql_state(SL_ERRCODE_NO_PERMISSION)) == 0;
		datum = column(i, 12, &is_null);
		jobs[i].tried_at = is_null ? 0 : DatumGetTimestampTz(datum);
	}
	SPI_freetuptable(SPI_tuptable);
	return jobs;
}

/* ---- with care ---- */

static bool is_careful = false;

/* What is told until the same goes well. */
static char *troubles[SL_TROUBLES] = {NULL};
static int	 n_noted = 0;

void
sl_store_be_careful(bool careful)
{
	is_careful = careful;
	n_noted = 0;
}

int
sl_store_noted(void)
{
	return n_noted;
}

void
sl_store_note(SlStoreTrouble kind, const char *what, const ErrorData *error)
{
	if (troubles[kind] != NULL)
		pfree(troubles[kind]);
	troubles[kind] = NULL;
	if (error == NULL)
		return;
	troubles[kind] =
		MemoryContextStrdup(TopMemoryContext, psprintf("%s: %s", what, error->message));
	n_noted++;
}

const char *
sl_store_trouble(void)
{
	for (int i = 0; i < SL_TROUBLES; i++)
		if (troubles[i] != NULL)
			return troubles[i];
	return NULL;
}

/* Claims made one by one, when one of them may fail for a reason of its own. */
typedef struct Claims
{
	int64  id;
	SlJob *jobs;
	int	   n;
} Claims;

static void
claim_one(void *argument)
{
	Claims *claims = argument;
	Datum	values[] = {id_array(&claims->id, 1)};
	int		n;
	SlJob  *job;

	execute(&claim, values, NULL);
	job = read_jobs(&n);
	if (n > 0)
		claims->jobs[claims->n++] = *job;
}

SlJob *
sl_store_claim(const int64 *ids, int n_ids, int *n)
{
	Datum  values[] = {id_array(ids, n_ids)};
	Claims claims = {0};

	/* It is on disk before the request leaves: else a crash could have it made twice. */
	ForceSyncCommit();
	if (!is_careful)
	{
		execute(&claim, values, NULL);
		return read_jobs(n);
	}
	claims.jobs = palloc(sizeof(SlJob) * Max(n_ids, 1));
	for (int i = 0; i < n_ids; i++)
	{
		ErrorData *error;

		claims.id = ids[i];
		error = sl_attempt(claim_one, &claims);
		if (error != NULL)
			sl_store_note(SL_ROW_TROUBLE,
						  psprintf("job " INT64_FORMAT " can't be taken up", ids[i]), error);
	}
	*n = claims.n;
	return claims.jobs;
}

bool
sl_store_learn_lead(SlTask *task)
{
	SlJob *job = &task->jobs[0];
	Datum  values[] = {Int64GetDatum(job->id), Int64GetDatum(task->learnt_lead)};
	bool   is_null;
	bool   has_to_wait;

	execute(&learn_lead, values, NULL);
	has_to_wait = SPI_processed > 0 && DatumGetBool(column(0, 1, &is_null));
	if (SPI_processed > 0)
		job->lead_id = task->learnt_lead;
	task->learnt_lead = 0;
	SPI_freetuptable(SPI_tuptable);
	return has_to_wait;
}

int64 *
sl_store_siblings(const SlLane *lane, const char *join_key, TimestampTz now, int max, int *n)
{
	Datum  values[] = {NameGetDatum(&lane->connection), ObjectIdGetDatum(lane->run_as),
					   CStringGetTextDatum(join_key), TimestampTzGetDatum(now), Int64GetDatum(max)};
	int64 *ids;

	execute(&siblings, values, NULL);
	*n = (int) SPI_processed;
	ids = palloc(sizeof(int64) * Max(*n, 1));
	for (int i = 0; i < *n; i++)
	{
		bool is_null;

		ids[i] = DatumGetInt64(column(i, 1, &is_null));
	}
	SPI_freetuptable(SPI_tuptable);
	return ids;
}

/* ---- results ---- */

static void
finish_task(const SlTask *task, const char *state)
{
	const SlResult *result = &task->result;
	bool			ok = result->verdict == SL_DONE_WELL;
	Datum			values[8] = {job_ids(task, SL_BEING_WRITTEN), CStringGetTextDatum(state),
								 BoolGetDatum(result->in_doubt)};
	bool			nulls[8] = {false};

	nulls[3] = result->error == NULL;
	if (result->error != NULL)
		values[3] = CStringGetTextDatum(result->error);
	nulls[4] = result->error == NULL || result->sqlstate == 0;
	if (!nulls[4])
		values[4] = CStringGetTextDatum(unpack_sql_state(result->sqlstate));
	nulls[5] = !ok || result->response == NULL;
	if (!nulls[5])
		values[5] = JsonbPGetDatum(result->response);
	values[6] = Int32GetDatum(task->n_shared);
	values[7] = BoolGetDatum(result->is_own);
	execute(&finish, values, nulls);
}

/* Those of the task's jobs that have trouble of their own. */
static Datum
troubled_ids(const SlTask *task)
{
	int64 *ids = palloc(sizeof(int64) * task->n_jobs);
	int	   n = 0;

	for (int i = 0; i < task->n_jobs; i++)
		if (task->lane != NULL && sl_trouble_is_own(task, &task->jobs[i]))
			ids[n++] = task->jobs[i].id;
	return id_array(ids, n);
}

static void
try_task_again(const SlTask *task, TimestampTz now)
{
	const SlResult *result = &task->result;
	Datum			values[] = {job_ids(task, SL_BEING_WRITTEN),
								troubled_ids(task),
								TimestampTzGetDatum(now),
								BoolGetDatum(result->trouble == SL_TROUBLE_OF_ALL),
								Float8GetDatum(0.5 + sl_random_fraction() / 2),
								BoolGetDatum(result->in_doubt),
								BoolGetDatum(task->n_shared > 1),
								Int32GetDatum(Min(SHARED_FAILURES, sl_queue_max_attempts)),
								(Datum) 0,
								(Datum) 0};
	bool			nulls[10] = {false};

	nulls[8] = nulls[9] = result->error == NULL;
	if (result->error != NULL)
	{
		values[8] = CStringGetTextDatum(result->error);
		values[9] = CStringGetTextDatum(unpack_sql_state(result->sqlstate));
	}
	execute(&try_again, values, nulls);
	for (uint64 i = 0; i < SPI_processed && task->lane != NULL; i++)
	{
		bool		is_null;
		TimestampTz due_at = DatumGetTimestampTz(column((int) i, 1, &is_null));

		/* What is due at once is behind the cursor. */
		if (due_at <= now)
			sl_lane_rewind_retries(task->lane);
		else
			task->lane->next_due = Min(task->lane->next_due, due_at);
	}
	SPI_freetuptable(SPI_tuptable);
}

static void
give_back_task(const SlTask *task, bool without_sharing)
{
	Datum values[] = {job_ids(task, SL_BEING_WRITTEN), BoolGetDatum(without_sharing)};

	execute(&give_back, values, NULL);
}

/* Into the rows of the jobs that are being written. */
static void
write_verdict(const SlTask *task, TimestampTz now)
{
	/* Whoever may not be asked twice is not to be forgotten, whatever the server's settings. */
	if (!sl_task_is_repeatable(task))
		ForceSyncCommit();
	switch (task->result.verdict)
	{
		case SL_DONE_WELL:
			finish_task(task, "done");
			break;
		case SL_TRY_LATER:
			try_task_again(task, now);
			break;
		case SL_REFUSED_KEY:
		case SL_GIVE_BACK:
			give_back_task(task, false);
			break;
		case SL_SPLIT:
			give_back_task(task, true);
			break;
		case SL_FAILED:
			finish_task(task, "failed");
			break;
		case SL_UNDECIDED:
			elog(ERROR, "job " INT64_FORMAT " has no result yet", task->jobs[0].id);
	}
}

/* ---- rows that others hold, and rows that can't be written ---- */

/* Returns how many jobs of the task were in that state of writing. */
static int
turn(SlTask *task, SlWriting from, SlWriting to)
{
	int n = 0;

	for (int i = 0; i < task->n_jobs; i++)
		if (task->jobs[i].writing == from)
		{
			task->jobs[i].writing = to;
			n++;
		}
	return n;
}

static bool
has_id(int64 id)
{
	bool is_null;

	for (uint64 i = 0; i < SPI_processed; i++)
		if (DatumGetInt64(column((int) i, 1, &is_null)) == id)
			return true;
	return false;
}

/*
 * Locks the rows of those jobs that are chosen to be written next. What others have locked is not
 * waited for: it is left unwritten. What doesn't run any more is nothing to write.
 */
static void
lock_rows(SlTask *task)
{
	execute(&lock_running, (Datum[]){job_ids(task, SL_BEING_WRITTEN)}, NULL);
	for (int i = 0; i < task->n_jobs; i++)
		if (task->jobs[i].writing == SL_BEING_WRITTEN && !has_id(task->jobs[i].id))
			task->jobs[i].writing = SL_UNWRITTEN;
	SPI_freetuptable(SPI_tuptable);
}

static void
drop_what_runs_no_more(SlTask *task)
{
	if (turn(task, SL_UNWRITTEN, SL_UNWRITTEN) == 0)
		return;
	execute(&running, (Datum[]){job_ids(task, SL_UNWRITTEN)}, NULL);
	for (int i = 0; i < task->n_jobs; i++)
		if (task->jobs[i].writing == SL_UNWRITTEN && !has_id(task->jobs[i].id))
			task->jobs[i].writing = SL_WRITTEN;
	SPI_freetuptable(SPI_tuptable);
}

static void
write_rows(void *argument)
{
	SlTask *task = argument;

	lock_rows(task);
	if (turn(task, SL_BEING_WRITTEN, SL_BEING_WRITTEN) > 0)
		write_verdict(task, GetCurrentTimestamp());
}

bool
sl_store_write(SlTask *task)
{
	ErrorData *error = NULL;

	if (!is_careful)
	{
		turn(task, SL_UNWRITTEN, SL_BEING_WRITTEN);
		write_rows(task);
		turn(task, SL_BEING_WRITTEN, SL_WRITTEN);
	}
	for (int i = 0; is_careful && i < task->n_jobs; i++)
	{
		SlJob	  *job = &task->jobs[i];
		ErrorData *own;

		job->writing = SL_BEING_WRITTEN;
		own = sl_attempt(write_rows, task);
		if (own != NULL)
		{
			error = own;
			job->writing = SL_UNWRITTEN;
			sl_store_note(SL_ROW_TROUBLE,
						  psprintf("the result of job " INT64_FORMAT " can't be written", job->id),
						  error);
		}
		turn(task, SL_BEING_WRITTEN, SL_WRITTEN);
	}
	drop_what_runs_no_more(task);
	if (error != NULL)
		task->failed_writes++;
	return turn(task, SL_WRITTEN, SL_WRITTEN) > 0;
}

bool
sl_store_confirm(SlTask *task)
{
	int kept = 0;

	for (int i = 0; i < task->n_jobs; i++)
		if (task->jobs[i].writing != SL_WRITTEN)
			task->jobs[kept++] = task->jobs[i];
	task->n_jobs = kept;
	return kept == 0;
}

void
sl_store_undo(SlTask *task)
{
	turn(task, SL_WRITTEN, SL_UNWRITTEN);
	turn(task, SL_BEING_WRITTEN, SL_UNWRITTEN);
}

/* The leads of those tasks that belong to this lane. */
static int
leads_of(SlTask *const *tasks, int n_tasks, const SlLane *lane, int64 *leads)
{
	int n = 0;

	for (int i = 0; i < n_tasks; i++)
		if (tasks[i]->lane == lane && !tasks[i]->is_probe && tasks[i]->jobs[0].lead_id != 0)
			leads[n++] = tasks[i]->jobs[0].lead_id;
	return n;
}

static void
successors_on(SlLane *lane, const int64 *leads, int n_leads, TimestampTz now)
{
	Datum values[] = {NameGetDatum(&lane->connection), ObjectIdGetDatum(lane->run_as),
					  id_array(leads, n_leads), TimestampTzGetDatum(now),
					  BoolGetDatum(lane->has_priorities)};
	bool  is_null;

	execute(&successors, values, NULL);
	for (uint64 i = 0; i < SPI_processed; i++)
		sl_lane_add_successor(lane, DatumGetInt64(column(i, 1, &is_null)),
							  DatumGetInt16(column(i, 2, &is_null)));
	SPI_freetuptable(SPI_tuptable);
}

void
sl_store_successors(SlTask *const *tasks, int n_tasks, TimestampTz now)
{
	int64 *leads = palloc(sizeof(int64) * Max(n_tasks, 1));

	for (int i = 0; i < n_tasks; i++)
	{
		bool seen = false;
		int	 n_leads;

		for (int j = 0; j < i && !seen; j++)
			seen = tasks[j]->lane == tasks[i]->lane;
		if (seen)
			continue;
		n_leads = leads_of(tasks, n_tasks, tasks[i]->lane, leads);
		if (n_leads > 0)
			successors_on(tasks[i]->lane, leads, n_leads, now);
	}
}

/* ---- lanes ---- */

static void
forget_what_was_known(void)
{
	for (int i = 0; i < sl_lanes_count(); i++)
	{
		sl_lanes_nth(i)->is_known = false;
		sl_lanes_nth(i)->has_priorities = false;
		sl_lanes_nth(i)->next_due = DT_NOEND;
	}
}

static void
read_pause(SlLane *lane, int row)
{
	bool  is_null;
	Datum version = column(row, 5, &is_null);
	char *state;

	if (is_null)
	{
		sl_lane_unpause(lane);
		return;
	}
	state = TextDatumGetCString(column(row, 6, &is_null));
	sl_lane_pause(lane, TextDatumGetCString(version),
				  MAKE_SQLSTATE(state[0], state[1], state[2], state[3], state[4]));
}

/* A row of the statement "lanes": a turn that has ready jobs. */
static void
read_turn(int row, TimestampTz now)
{
	bool	is_null;
	Datum	connection = column(row, 1, &is_null);
	SlLane *lane =
		sl_lane_get(NameStr(*DatumGetName(connection)), DatumGetObjectId(column(row, 2, &is_null)));
	int	  priority = DatumGetInt16(column(row, 3, &is_null));
	bool  is_new = DatumGetBool(column(row, 4, &is_null));
	Datum datum;

	/* Rows come in the order of the priorities. */
	if (!lane->is_known)
	{
		read_pause(lane, row);
		lane->first_priority = priority;
	}
	lane->is_known = true;
	if (priority != lane->first_priority)
		lane->has_priorities = true;
	datum = column(row, 7, &is_null);
	if (!is_null && DatumGetTimestampTz(datum) <= now)
		lane->turns[SL_TURN(priority, is_new)].is_dirty = true;
	datum = column(row, 8, &is_null);
	if (!is_null)
		lane->next_due = Min(lane->next_due, DatumGetTimestampTz(datum));
}

void
sl_store_read_lanes(TimestampTz now)
{
	Datum values[] = {TimestampTzGetDatum(now)};

	forget_what_was_known();
	execute(&lanes, values, NULL);
	for (uint64 i = 0; i < SPI_processed; i++)
		read_turn((int) i, now);
	SPI_freetuptable(SPI_tuptable);
	sl_lanes_forget_unknown();
}

void
sl_store_pause(SlLane *lane, const char *reason, int sqlstate, const char *version)
{
	Datum values[] = {NameGetDatum(&lane->connection), ObjectIdGetDatum(lane->run_as),
					  CStringGetTextDatum(reason), CStringGetTextDatum(unpack_sql_state(sqlstate)),
					  CStringGetTextDatum(version)};

	execute(&pause_lane, values, NULL);
	sl_lane_pause(lane, version, sqlstate);
	ereport(LOG, (errmsg("the queue of connection \"%s\" is paused for role \"%s\"",
						 NameStr(lane->connection), GetUserNameFromId(lane->run_as, true)),
				  errdetail_internal("%s", reason)));
}

void
sl_store_resume(SlLane *lane)
{
	Datum values[] = {NameGetDatum(&lane->connection), ObjectIdGetDatum(lane->run_as)};

	execute(&resume_lane, values, NULL);
	sl_lane_unpause(lane);
	sl_lane_rewind(lane);
}

/* ---- the past ---- */

static int64 *behind = NULL; /* running when the dispatcher died, and not judged yet */
static int	  n_behind = -1; /* not looked for yet */
static int	  n_judged = 0;	 /* in this transaction: the last ones */

static void
find_left_behind(void)
{
	bool is_null;

	execute(&left_behind, NULL, NULL);
	if (behind != NULL)
		pfree(behind);
	behind = MemoryContextAlloc(TopMemoryContext, sizeof(int64) * Max(SPI_processed, 1));
	for (uint64 i = 0; i < SPI_processed; i++)
		behind[i] = DatumGetInt64(column((int) i, 1, &is_null));
	n_behind = (int) SPI_processed;
	SPI_freetuptable(SPI_tuptable);
}

/*
 * A job that is interrupted again and again may be what ends the server: it is tried later, and apart
 * from the others that were interrupted with it, and at last not at all.
 */
static void
judge_left_behind(SlTask *task)
{
	SlResult *result = &task->result;

	if (result->verdict != SL_UNDECIDED)
		return;
	result->in_doubt = true;
	if (!sl_task_is_repeatable(task))
	{
		result->verdict = SL_FAILED;
		result->sqlstate = SL_ERRCODE_UNKNOWN_OUTCOME;
		result->error = "outcome unknown: the server went down while the job was running, and "
						"repeating it could do it twice";
	}
	else if (task->jobs[0].interrupted >= MAX_INTERRUPTED)
	{
		result->verdict = SL_FAILED;
		result->sqlstate = SL_ERRCODE_UNKNOWN_OUTCOME;
		result->error = psprintf("outcome unknown: the server, or its dispatcher, went down %d "
								 "times while the job was running",
								 task->jobs[0].interrupted);
	}
	else
		result->verdict = SL_TRY_LATER;
}

/* A job that is left behind, and how many seconds to wait with it if it was interrupted before. */
typedef struct LeftBehind
{
	int64 id;
	int	  apart;
	bool  done; /* false: somebody has the row locked */
} LeftBehind;

static void
recover_job(void *argument)
{
	LeftBehind	 *left = argument;
	SlConnection  nowhere = {.name = "", .base_url = "", .api_key = ""};
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "smartlead queue recovery",
												  ALLOCSET_SMALL_SIZES);
	SlTask		 *task;
	SlJob		 *job;
	int			  n;

	left->done = false;
	execute(&take_up, (Datum[]){Int64GetDatum(left->id)}, NULL);
	job = read_jobs(&n);
	if (n > 0)
	{
		task = sl_task_create(context, &nowhere, job);
		judge_left_behind(task);
		turn(task, SL_UNWRITTEN, SL_BEING_WRITTEN);
		write_verdict(task, GetCurrentTimestamp());
		if (job->interrupted > 1)
			execute(&postpone,
					(Datum[]){Int64GetDatum(left->id),
							  Int32GetDatum(left->apart << Min(job->interrupted, 8))},
					NULL);
		left->done = true;
	}
	else
	{
		execute(&running, (Datum[]){id_array(&left->id, 1)}, NULL);
		left->done = SPI_processed == 0;
	}
	MemoryContextDelete(context);
}

void
sl_store_recover(void)
{
	int n = 0;

	if (n_behind < 0)
		find_left_behind();
	n_judged = 0;
	for (int i = 0; i < n_behind - n_judged; i++)
	{
		LeftBehind left = {behind[i], n + 1, false};
		ErrorData *error = sl_attempt(recover_job, &left);

		if (error != NULL)
			sl_store_note(
				SL_ROW_TROUBLE,
				psprintf("job " INT64_FORMAT ", which was left behind, can't be judged", left.id),
				error);
		else if (left.done)
		{
			/* To the end, where the confirmation cuts it off. */
			n_judged++;
			behind[i] = behind[n_behind - n_judged];
			behind[n_behind - n_judged] = left.id;
			i--;
		}
		n++;
	}
	if (n_judged > 0)
		ereport(LOG, (errmsg_plural("the queue had %d job running when its dispatcher ended",
									"the queue had %d jobs running when its dispatcher ended",
									n_judged, n_judged)));
}

bool
sl_store_confirm_recovery(void)
{
	n_behind = Max(n_behind - n_judged, 0);
	n_judged = 0;
	return n_behind == 0;
}

bool
sl_store_fail_orphans(const SlLane *lane, const char *why, TimestampTz now)
{
	Datum values[] = {NameGetDatum(&lane->connection),
					  ObjectIdGetDatum(lane->run_as),
					  CStringGetTextDatum(why),
					  CStringGetTextDatum(unpack_sql_state(ERRCODE_UNDEFINED_OBJECT)),
					  TimestampTzGetDatum(now),
					  Int64GetDatum(ORPHANS_BATCH)};

	execute(&fail_orphans, values, NULL);
	if (SPI_processed > 0)
		ereport(LOG,
				(errmsg_plural("%d job of the queue of connection \"%s\" has failed",
							   "%d jobs of the queue of connection \"%s\" have failed",
							   (int) SPI_processed, (int) SPI_processed, NameStr(lane->connection)),
				 errdetail_internal("%s", why)));
	sl_queue_wake_at_commit(); /* somebody may wait for one of them */
	return SPI_processed == ORPHANS_BATCH;
}

/* How far the old jobs have been looked through in this pass. */
static TimestampTz passed_at = DT_NOBEGIN;
static int64	   passed_id = 0;

static int64 *
find_expired(int *n)
{
	TimestampTz limit = GetCurrentTimestamp() - sl_queue_retention_min * 60 * USECS_PER_SEC;
	Datum		values[] = {TimestampTzGetDatum(limit), TimestampTzGetDatum(passed_at),
							Int64GetDatum(passed_id), Int64GetDatum(EXPIRE_BATCH)};
	int64	   *ids;
	bool		is_null;

	execute(&expired, values, NULL);
	*n = (int) SPI_processed;
	ids = palloc(sizeof(int64) * Max(*n, 1));
	for (int i = 0; i < *n; i++)
	{
		ids[i] = passed_id = DatumGetInt64(column(i, 1, &is_null));
		passed_at = DatumGetTimestampTz(column(i, 2, &is_null));
	}
	SPI_freetuptable(SPI_tuptable);
	return ids;
}

static void
delete_jobs(void *argument)
{
	execute(&expire, (Datum *) argument, NULL);
}

bool
sl_store_expire(void)
{
	int64	  *ids;
	int		   n;
	Datum	   all;
	ErrorData *error;

	if (sl_queue_retention_min < 0)
		return false;
	if (TIMESTAMP_IS_NOBEGIN(passed_at))
		sl_store_note(SL_HOUSEKEEPING_TROUBLE, NULL, NULL);
	ids = find_expired(&n);
	all = id_array(ids, n);
	error = sl_attempt(delete_jobs, &all);
	/* One that can't be deleted, since something of the user's refers to it, stays alone. */
	for (int i = 0; error != NULL && i < n; i++)
	{
		Datum	   one = id_array(&ids[i], 1);
		ErrorData *own = sl_attempt(delete_jobs, &one);

		if (own != NULL)
			sl_store_note(SL_HOUSEKEEPING_TROUBLE, "old jobs can't be deleted", own);
	}
	if (n == EXPIRE_BATCH)
		return true;
	passed_at = DT_NOBEGIN;
	passed_id = 0;
	return false;
}
