/*
 * queue/flight.c
 *		Tasks in flight, and those that have ended: from the claim until the result is in the table.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "queue/claim.h"
#include "queue/dispatcher.h"
#include "queue/queue.h"
#include "queue/trouble.h"

/* Results are written together, unless there is nothing to wait for. */
#define RESULTS_TOGETHER 8
#define RESULTS_WAIT_MS 5

#define LOCKED_MS 500		 /* when a row is locked by somebody else */
#define REWRITE_MAX_MS 60000 /* when a row can't be written */

static MemoryContext context; /* parent of all tasks */

static dlist_head  in_flight = DLIST_STATIC_INIT(in_flight); /* started, or to be started */
static dlist_head  results = DLIST_STATIC_INIT(results);	 /* with a verdict to be written */
static int		   n_results = 0;
static int		   n_ended = 0; /* in flight, but the transfer has ended */
static TimestampTz oldest_ended = 0;

static TimestampTz
later(TimestampTz now, long ms)
{
	return TimestampTzPlusMilliseconds(now, ms);
}

void
sl_flight_prepare(void)
{
	context =
		AllocSetContextCreate(TopMemoryContext, "smartlead queue tasks", ALLOCSET_DEFAULT_SIZES);
}

bool
sl_flight_is_over(void)
{
	return dlist_is_empty(&in_flight) && dlist_is_empty(&results);
}

/* ---- under way ---- */

bool
sl_flight_claim(TimestampTz now)
{
	return sl_claim_jobs(context, &in_flight, now);
}

static void
add_result(SlTask *task)
{
	dlist_push_tail(&results, &task->node);
	n_results++;
	task->lane->in_flight--;
	task->lane->n_results++;
}

void
sl_flight_notice_ends(TimestampTz now)
{
	dlist_iter iter;

	dlist_foreach (iter, &in_flight)
	{
		SlTask *task = dlist_container(SlTask, node, iter.cur);

		if (task->transfer == NULL || task->done_at != 0 ||
			sl_transfer_poll(task->transfer) == NULL)
			continue;
		task->done_at = now;
		if (n_ended++ == 0)
			oldest_ended = now;
	}
}

static void
refuse_key(SlTask *task)
{
	task->result.verdict = SL_REFUSED_KEY;
	if (task->result.trouble == SL_TROUBLE_REFUSED)
		task->result.trouble = SL_NO_TROUBLE; /* but a pause */
}

/* What passes for others, but not for this job, ends it some day. */
static void
judge_trouble(SlTask *task)
{
	const SlJob *job = task->jobs;
	bool		 is_denied = task->result.trouble == SL_TROUBLE_DENIED;
	bool		 is_refused = task->result.trouble == SL_TROUBLE_REFUSED;

	if (task->is_probe)
	{
		if (is_denied || is_refused)
			refuse_key(task);
		return;
	}
	if (task->result.verdict != SL_TRY_LATER)
		return;
	if (!sl_trouble_is_own(task, job))
	{
		if (is_refused)
			refuse_key(task);
	}
	else if (is_denied)
	{
		task->result.verdict = task->n_jobs > 1 ? SL_SPLIT : SL_FAILED;
		task->result.trouble = SL_NO_TROUBLE;
	}
	else if (task->n_jobs == 1 && job->failures + 1 >= sl_queue_max_attempts)
	{
		task->result.verdict = SL_FAILED;
		task->result.is_own = true;
	}
}

/* The job named its lead by an address, and an earlier job on that lead has not ended. */
static bool
has_to_wait(SlTask *task)
{
	if (task->learnt_lead == 0 || !sl_store_learn_lead(task))
		return false;
	task->result.verdict = SL_GIVE_BACK;
	return true;
}

void
sl_flight_advance(TimestampTz now)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify (iter, &in_flight)
	{
		SlTask *task = dlist_container(SlTask, node, iter.cur);

		if (task->done_at == 0)
			continue;
		task->done_at = 0;
		sl_task_advance(task);
		if (task->result.verdict == SL_UNDECIDED && !has_to_wait(task))
			continue;
		if (task->result.verdict != SL_GIVE_BACK)
		{
			judge_trouble(task);
			sl_trouble_note(task, now);
		}
		dlist_delete(&task->node);
		add_result(task);
	}
	n_ended = 0;
}

void
sl_flight_start(void)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify (iter, &in_flight)
	{
		SlTask *task = dlist_container(SlTask, node, iter.cur);

		if (task->result.verdict != SL_UNDECIDED)
		{
			dlist_delete(&task->node);
			add_result(task);
		}
		else if (task->transfer == NULL)
			sl_task_start(task);
	}
	sl_transport_run();
}

void
sl_flight_give_back_unsent(void)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify (iter, &in_flight)
	{
		SlTask *task = dlist_container(SlTask, node, iter.cur);

		if (task->transfer != NULL && !sl_transfer_is_waiting(task->transfer))
			continue;
		task->result.verdict = SL_GIVE_BACK;
		dlist_delete(&task->node);
		add_result(task);
		if (task->transfer != NULL)
			sl_transfer_free(task->transfer);
		task->transfer = NULL;
	}
}

/* ---- results ---- */

/* The jobs of the task are ready, and due, as before: the cursor has passed them. */
static void
look_at_again(const SlTask *task)
{
	for (int i = 0; i < task->n_jobs; i++)
	{
		const SlJob *job = &task->jobs[i];
		bool		 is_new = task->result.verdict != SL_SPLIT && job->attempts <= 1;

		sl_turn_rewind(&task->lane->turns[SL_TURN(job->priority, is_new)]);
	}
}

/* Whether the lane is paused, or needs not be any longer. */
static void
note_key(SlTask *task, TimestampTz now)
{
	SlLane	 *lane = task->lane;
	SlVerdict verdict = task->result.verdict;

	if (verdict == SL_REFUSED_KEY && !lane->is_paused)
		sl_store_pause(lane, task->result.error, task->result.sqlstate, task->version);
	else if (!task->is_probe || !lane->is_paused)
		return;
	else if (verdict == SL_DONE_WELL || verdict == SL_FAILED)
		sl_store_resume(lane);
	else
	{
		if (lane->is_unwritten)
			sl_store_pause(lane, task->result.error, task->result.sqlstate, task->version);
		sl_trouble_put_off_probe(lane, now);
	}
}

static bool
write_result(SlTask *task, TimestampTz now)
{
	note_key(task, now);
	if (task->is_probe)
		return false;
	if (task->result.verdict == SL_SPLIT || task->result.verdict == SL_GIVE_BACK ||
		task->result.verdict == SL_REFUSED_KEY)
		look_at_again(task);
	return sl_store_write(task);
}

void
sl_flight_write(TimestampTz now)
{
	SlTask	 **tasks = palloc(sizeof(SlTask *) * Max(n_results, 1));
	dlist_iter iter;
	int		   n = 0;

	dlist_foreach (iter, &results)
	{
		SlTask *task = dlist_container(SlTask, node, iter.cur);

		if (task->write_after <= now && write_result(task, now))
			tasks[n++] = task;
	}
	if (n > 0)
		sl_store_successors(tasks, n, now);
}

void
sl_flight_confirm(TimestampTz now)
{
	dlist_mutable_iter iter;
	bool			   announce = false;

	dlist_foreach_modify (iter, &results)
	{
		SlTask *task = dlist_container(SlTask, node, iter.cur);
		int		n = task->n_jobs;

		if (task->write_after > now)
			continue;
		if (!sl_store_confirm(task))
			task->write_after =
				later(now, Min(LOCKED_MS << Min(task->failed_writes, 10), REWRITE_MAX_MS));
		announce = announce || task->n_jobs < n;
		if (task->n_jobs > 0)
			continue;
		dlist_delete(&task->node);
		task->lane->n_results--;
		n_results--;
		sl_task_free(task);
	}
	if (announce)
		sl_queue_announce();
}

void
sl_flight_undo(void)
{
	dlist_iter iter;

	sl_claim_undo();
	dlist_foreach (iter, &results)
		sl_store_undo(dlist_container(SlTask, node, iter.cur));
}

/* ---- when ---- */

static int
count(const dlist_head *list)
{
	dlist_iter iter;
	int		   n = 0;

	dlist_foreach (iter, (dlist_head *) list)
		n++;
	return n;
}

static bool
results_are_due(TimestampTz now)
{
	dlist_iter iter;

	dlist_foreach (iter, &results)
		if (dlist_container(SlTask, node, iter.cur)->write_after <= now)
			return true;
	return false;
}

bool
sl_flight_is_due(TimestampTz now)
{
	if (results_are_due(now))
		return true;
	if (n_ended == 0)
		return false;
	return n_ended >= RESULTS_TOGETHER || n_ended == count(&in_flight) ||
		   later(oldest_ended, RESULTS_WAIT_MS) <= now;
}

TimestampTz
sl_flight_deadline(void)
{
	TimestampTz deadline = DT_NOEND;
	dlist_iter	iter;

	if (n_ended > 0)
		deadline = later(oldest_ended, RESULTS_WAIT_MS);
	dlist_foreach (iter, &results)
		deadline = Min(deadline, dlist_container(SlTask, node, iter.cur)->write_after);
	return deadline;
}

void
sl_flight_clock_set_back(TimestampTz now)
{
	dlist_iter iter;

	dlist_foreach (iter, &results)
		dlist_container(SlTask, node, iter.cur)->write_after = now;
	oldest_ended = Min(oldest_ended, now);
}
