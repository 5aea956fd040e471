/*
 * queue/outcome.c
 *		What came of tasks, written into their jobs' rows.
 *
 * What others have locked is not waited for, and what can't be written stands alone: both stay with
 * the task, and are written later.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "queue/queue.h"
#include "queue/statement.h"
#include "queue/store.h"
#include "queue/trouble.h"
#include "worker/worker.h"

/* Failures of its own after which a job no longer shares requests. */
#define SHARED_FAILURES 3

static SlStatement finish = {
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
static SlStatement try_again = {
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

/*
 * Ready as before the claim; or, of a shared request that was refused, without sharing again. What a
 * refused key had to do with it is known to the next attempt.
 */
static SlStatement give_back = {"UPDATE %1$s.smartlead_queue SET state = 'ready', "
								"attempts = CASE WHEN $2 THEN attempts ELSE attempts - 1 END, "
								"join_key = CASE WHEN $2 THEN NULL ELSE join_key END, "
								"last_error = coalesce($3, last_error), "
								"sqlstate = coalesce($4, sqlstate) "
								"WHERE id = ANY ($1) AND state = 'running'",
								4,
								{INT8ARRAYOID, BOOLOID, TEXTOID, TEXTOID}};

/* Of these jobs, those that run; and among them those whose rows nobody else has locked. */
static SlStatement running = {
	"SELECT id FROM %1$s.smartlead_queue WHERE id = ANY ($1) AND state || '' = 'running'",
	1,
	{INT8ARRAYOID}};

static SlStatement lock_running = {
	"SELECT id FROM %1$s.smartlead_queue WHERE id = ANY ($1) AND state || '' = 'running' "
	"FOR NO KEY UPDATE SKIP LOCKED",
	1,
	{INT8ARRAYOID}};

/* The task's jobs in that state of writing. */
static Datum
job_ids(const SlTask *task, SlWriting writing)
{
	int64 *ids = palloc(sizeof(int64) * task->n_jobs);
	int	   n = 0;

	for (int i = 0; i < task->n_jobs; i++)
		if (task->jobs[i].writing == writing)
			ids[n++] = task->jobs[i].id;
	return sl_statement_ids(ids, n);
}

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
	sl_statement_execute(&finish, values, nulls);
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
	return sl_statement_ids(ids, n);
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
	sl_statement_execute(&try_again, values, nulls);
	for (uint64 i = 0; i < SPI_processed && task->lane != NULL; i++)
	{
		bool		is_null;
		TimestampTz due_at = DatumGetTimestampTz(sl_statement_column((int) i, 1, &is_null));

		/* What is due at once is behind the cursor. */
		if (due_at <= now)
			sl_lane_rewind_retries(task->lane);
		else
			task->lane->next_due = Min(task->lane->next_due, due_at);
	}
	SPI_freetuptable(SPI_tuptable);
}

static void
give_back_task(const SlTask *task)
{
	const SlResult *result = &task->result;
	bool			tells = result->verdict == SL_REFUSED_KEY;
	Datum values[] = {job_ids(task, SL_BEING_WRITTEN), BoolGetDatum(result->verdict == SL_SPLIT),
					  (Datum) 0, (Datum) 0};
	bool  nulls[] = {false, false, !tells, !tells};

	if (tells)
	{
		values[2] = CStringGetTextDatum(result->error);
		values[3] = CStringGetTextDatum(unpack_sql_state(result->sqlstate));
	}
	sl_statement_execute(&give_back, values, nulls);
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
		case SL_SPLIT:
			give_back_task(task);
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
		if (DatumGetInt64(sl_statement_column((int) i, 1, &is_null)) == id)
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
	sl_statement_execute(&lock_running, (Datum[]){job_ids(task, SL_BEING_WRITTEN)}, NULL);
	for (int i = 0; i < task->n_jobs; i++)
		if (task->jobs[i].writing == SL_BEING_WRITTEN && !has_id(task->jobs[i].id))
			task->jobs[i].writing = SL_UNWRITTEN;
	SPI_freetuptable(SPI_tuptable);
}

uint64
sl_store_find_running(Datum ids)
{
	sl_statement_execute(&running, &ids, NULL);
	return SPI_processed;
}

static void
drop_what_runs_no_more(SlTask *task)
{
	if (turn(task, SL_UNWRITTEN, SL_UNWRITTEN) == 0)
		return;
	sl_store_find_running(job_ids(task, SL_UNWRITTEN));
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

void
sl_store_write_locked(SlTask *task)
{
	turn(task, SL_UNWRITTEN, SL_BEING_WRITTEN);
	write_verdict(task, GetCurrentTimestamp());
}

bool
sl_store_write(SlTask *task)
{
	ErrorData *error = NULL;
	bool	   is_careful = sl_store_is_careful();

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
