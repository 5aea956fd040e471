/*
 * queue/next.c
 *		The jobs that are next: found and claimed; those that share a request, or a lead.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "api/problem.h"
#include "queue/statement.h"
#include "queue/store.h"
#include "worker/worker.h"

/* An earlier job of the role on the same lead that has not ended. */
#define BLOCKED                                                                                    \
	"EXISTS (SELECT FROM %1$s.smartlead_queue e "                                                  \
	"WHERE e.connection = q.connection AND e.run_as = q.run_as AND e.lead_id = q.lead_id "         \
	"AND e.state IN ('ready', 'running') AND (e.run_at, e.id) < (q.run_at, q.id))"

/* With each one the first job on its lead. An urgent job that it holds up lends it its priority. */
static SlStatement candidates = {
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

static SlStatement claim = {
	"UPDATE %1$s.smartlead_queue j SET state = 'running', attempts = j.attempts + 1, "
	"started_at = pg_catalog.clock_timestamp() "
	"FROM (SELECT q.id, q.started_at FROM %1$s.smartlead_queue q WHERE q.id = ANY ($1) AND q.state "
	"|| '' = "
	"'ready' "
	"AND q.home = %2$s AND " BLOCKED
	" IS NOT TRUE ORDER BY q.priority, q.attempts = 0, q.due_at, q.id "
	"FOR UPDATE SKIP LOCKED) c WHERE j.id = c.id "
	"RETURNING " SL_JOB_COLUMNS ", c.started_at",
	1,
	{INT8ARRAYOID}};

static SlStatement siblings = {
	"SELECT q.id FROM %1$s.smartlead_queue q WHERE q.state IN ('ready', 'running') "
	"AND q.state || '' = 'ready' AND q.connection = $1 AND q.run_as = $2 AND q.join_key = $3 "
	"AND q.due_at <= $4 ORDER BY q.due_at, q.id LIMIT $5",
	5,
	{NAMEOID, OIDOID, TEXTOID, TIMESTAMPTZOID, INT8OID}};

static SlStatement learn_lead = {
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
static SlStatement successors = {
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

	sl_statement_execute(&candidates, values, NULL);
	*n = (int) SPI_processed;
	found = palloc(sizeof(SlCandidate) * Max(*n, 1));
	for (int i = 0; i < *n; i++)
	{
		Datum datum;

		found[i].id = DatumGetInt64(sl_statement_column(i, 1, &is_null));
		found[i].due_at = DatumGetTimestampTz(sl_statement_column(i, 2, &is_null));
		datum = sl_statement_column(i, 3, &is_null);
		found[i].is_blocked = !is_null && DatumGetBool(datum);
		datum = sl_statement_column(i, 4, &is_null);
		found[i].instead = is_null ? 0 : DatumGetInt64(datum);
	}
	SPI_freetuptable(SPI_tuptable);
	return found;
}

static bool
is_state(Datum state, int sqlstate)
{
	return strcmp(TextDatumGetCString(state), unpack_sql_state(sqlstate)) == 0;
}

SlJob *
sl_store_read_jobs(int *n)
{
	SlJob *jobs = palloc0(sizeof(SlJob) * Max(SPI_processed, 1));

	*n = (int) SPI_processed;
	for (int i = 0; i < *n; i++)
	{
		bool  is_null;
		Datum datum;

		jobs[i].id = DatumGetInt64(sl_statement_column(i, 1, &is_null));
		jobs[i].action = TextDatumGetCString(sl_statement_column(i, 2, &is_null));
		jobs[i].args = DatumGetJsonbPCopy(sl_statement_column(i, 3, &is_null));
		datum = sl_statement_column(i, 4, &is_null);
		jobs[i].lead_id = is_null ? 0 : DatumGetInt64(datum);
		datum = sl_statement_column(i, 5, &is_null);
		jobs[i].join_key = is_null ? NULL : TextDatumGetCString(datum);
		jobs[i].priority = DatumGetInt16(sl_statement_column(i, 6, &is_null));
		jobs[i].attempts = DatumGetInt32(sl_statement_column(i, 7, &is_null));
		jobs[i].in_doubt = DatumGetBool(sl_statement_column(i, 8, &is_null));
		jobs[i].interrupted = DatumGetInt32(sl_statement_column(i, 9, &is_null));
		jobs[i].failures = DatumGetInt32(sl_statement_column(i, 10, &is_null));
		datum = sl_statement_column(i, 11, &is_null);
		jobs[i].was_denied = !is_null && is_state(datum, SL_ERRCODE_NO_PERMISSION);
		jobs[i].was_refused = !is_null && is_state(datum, SL_ERRCODE_BAD_KEY);
		datum = sl_statement_column(i, 12, &is_null);
		jobs[i].tried_at = is_null ? 0 : DatumGetTimestampTz(datum);
	}
	SPI_freetuptable(SPI_tuptable);
	return jobs;
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
	Datum	values[] = {sl_statement_ids(&claims->id, 1)};
	int		n;
	SlJob  *job;

	sl_statement_execute(&claim, values, NULL);
	job = sl_store_read_jobs(&n);
	if (n > 0)
		claims->jobs[claims->n++] = *job;
}

SlJob *
sl_store_claim(const int64 *ids, int n_ids, int *n)
{
	Datum  values[] = {sl_statement_ids(ids, n_ids)};
	Claims claims = {0};

	/* It is on disk before the request leaves: else a crash could have it made twice. */
	ForceSyncCommit();
	if (!sl_store_is_careful())
	{
		sl_statement_execute(&claim, values, NULL);
		return sl_store_read_jobs(n);
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

	sl_statement_execute(&learn_lead, values, NULL);
	has_to_wait = SPI_processed > 0 && DatumGetBool(sl_statement_column(0, 1, &is_null));
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

	sl_statement_execute(&siblings, values, NULL);
	*n = (int) SPI_processed;
	ids = palloc(sizeof(int64) * Max(*n, 1));
	for (int i = 0; i < *n; i++)
	{
		bool is_null;

		ids[i] = DatumGetInt64(sl_statement_column(i, 1, &is_null));
	}
	SPI_freetuptable(SPI_tuptable);
	return ids;
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
					  sl_statement_ids(leads, n_leads), TimestampTzGetDatum(now),
					  BoolGetDatum(lane->has_priorities)};
	bool  is_null;

	sl_statement_execute(&successors, values, NULL);
	for (uint64 i = 0; i < SPI_processed; i++)
		sl_lane_add_successor(lane, DatumGetInt64(sl_statement_column(i, 1, &is_null)),
							  DatumGetInt16(sl_statement_column(i, 2, &is_null)));
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
