/*
 * queue/left_behind.c
 *		Jobs that a dispatcher left running when it died.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "api/problem.h"
#include "queue/statement.h"
#include "queue/store.h"
#include "worker/worker.h"

#define MAX_INTERRUPTED 5

static SlStatement left_behind = {"SELECT id FROM %1$s.smartlead_queue WHERE state = 'running' "
								  "AND home = %2$s ORDER BY id",
								  0,
								  {0}};

/* One job that was left behind, unless somebody has its row locked. */
static SlStatement take_up = {
	"UPDATE %1$s.smartlead_queue j SET interrupted = j.interrupted + 1 FROM (SELECT q.id "
	"FROM %1$s.smartlead_queue q WHERE q.id = $1 AND q.state || '' = 'running' "
	"FOR NO KEY UPDATE SKIP LOCKED) l WHERE j.id = l.id "
	"RETURNING " SL_JOB_COLUMNS ", NULL",
	1,
	{INT8OID}};

static SlStatement postpone = {
	"UPDATE %1$s.smartlead_queue SET due_at = pg_catalog.clock_timestamp() + "
	"$2 * interval '1 second' WHERE id = $1 AND state || '' = 'ready'",
	2,
	{INT8OID, INT4OID}};

static int64 *behind = NULL; /* running when the dispatcher died, and not judged yet */
static int	  n_behind = -1; /* not looked for yet */
static int	  n_judged = 0;	 /* in this transaction: the last ones */

static void
find_left_behind(void)
{
	bool is_null;

	sl_statement_execute(&left_behind, NULL, NULL);
	if (behind != NULL)
		pfree(behind);
	behind = MemoryContextAlloc(TopMemoryContext, sizeof(int64) * Max(SPI_processed, 1));
	for (uint64 i = 0; i < SPI_processed; i++)
		behind[i] = DatumGetInt64(sl_statement_column((int) i, 1, &is_null));
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
	SlConnection  nowhere = {.name = "", .url = {""}, .api_key = ""};
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "smartlead queue recovery",
												  ALLOCSET_SMALL_SIZES);
	SlTask		 *task;
	SlJob		 *job;
	int			  n;

	left->done = false;
	sl_statement_execute(&take_up, (Datum[]){Int64GetDatum(left->id)}, NULL);
	job = sl_store_read_jobs(&n);
	if (n > 0)
	{
		task = sl_task_create(context, &nowhere, job);
		judge_left_behind(task);
		sl_store_write_locked(task);
		if (job->interrupted > 1)
			sl_statement_execute(&postpone,
								 (Datum[]){Int64GetDatum(left->id),
										   Int32GetDatum(left->apart << Min(job->interrupted, 8))},
								 NULL);
		left->done = true;
	}
	else
	{
		left->done = sl_store_find_running(sl_statement_ids(&left->id, 1)) == 0;
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
