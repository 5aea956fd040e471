/*
 * queue/dispatcher.c
 *		The worker that performs the queue's jobs, one for each database.
 *
 * It claims jobs in one short transaction, talks to Smartlead with none open, and writes what came of
 * them, and the next claims, in another one. Many requests are under way at once, of each lane as
 * many as settings and rate limit allow.
 *
 * What may end it, and what happens to the jobs:
 * - SIGTERM: what waits for the rate limit is given back; what was sent may be answered for a few
 *   seconds more. What is left is judged by the next dispatcher, like after a crash. A synchronous
 *   standby that is away is waited for no longer; what was claimed meanwhile is not sent.
 * - SIGINT ends a statement, or the wait for a standby, and never the dispatcher.
 * - A crash: the next dispatcher finds jobs "running". Those that may be repeated are; others end
 *   as "outcome unknown".
 * - An error in a transaction, such as a lock held too long by DDL: results stay in memory, the
 *   transaction is tried again a little later, each row by itself: one may be the reason.
 * - A row that somebody has locked waits until it is free, and nothing else does.
 * - DROP EXTENSION: it notices that its tables are gone, and ends.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include <signal.h>

#include "access/xact.h"
#include "executor/spi.h"
#include "libpq/pqsignal.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "tcop/tcopprot.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "queue/claim.h"
#include "queue/queue.h"
#include "queue/store.h"
#include "queue/trouble.h"
#include "role/role.h"
#include "worker/worker.h"

/* Results are written together, unless there is nothing to wait for. */
#define RESULTS_TOGETHER 8
#define RESULTS_WAIT_MS 5

#define RETRY_MS 1000		   /* after a transaction that failed */
#define CAREFUL_MS 120000	   /* how long each row is then written by itself */
#define LOCKED_MS 500		   /* when a row is locked by somebody else */
#define REWRITE_MAX_MS 60000   /* when a row can't be written */
#define RECHECK_MS 10000	   /* whether a paused connection has changed */
#define LOOK_AROUND_MS 30000   /* for what nobody tells: COMMIT PREPARED, a dump, replication */
#define HOUSEKEEPING_MS 600000 /* retention */
#define SHUTDOWN_GRACE_MS 3000 /* for requests that were sent */

/*
 * An old snapshot somewhere keeps the indexes' entries for jobs that ended since, and makes a look at
 * the lanes take long. No more than one part in four of the time goes into such looks.
 */
#define LONG_LOOK_MS 20
#define LOOK_SHARE 4

static SlWorkerSlot *slot;
static uint32		 wait_event;
static MemoryContext task_context;	/* parent of all tasks */
static MemoryContext round_context; /* of one transaction */

static dlist_head in_flight = DLIST_STATIC_INIT(in_flight); /* started, or to be started */
static dlist_head results = DLIST_STATIC_INIT(results);		/* with a verdict to be written */
static int		  n_results = 0;
static int		  n_ended = 0; /* in flight, but the transfer has ended */

static bool		   lanes_are_stale = true;
static bool		   more_to_claim = false;
static TimestampTz oldest_ended = 0;
static TimestampTz retry_at = 0;
static TimestampTz careful_until = 0;
static bool		   is_careful = false;
static TimestampTz recover_at = 0;
static TimestampTz recheck_at = DT_NOEND;
static TimestampTz look_around_at = 0;
static TimestampTz next_look_at = 0; /* at the lanes, after one that took long */
static TimestampTz housekeeping_at = 0;
static bool		   performs = false; /* jobs, unless they wait for somebody's word */
static TimestampTz shutdown_at = 0;	 /* 0: not asked to end */

static TimestampTz
later(TimestampTz now, long ms)
{
	return TimestampTzPlusMilliseconds(now, ms);
}

/* ---- tasks ---- */

static void
add_result(SlTask *task)
{
	dlist_push_tail(&results, &task->node);
	n_results++;
	task->lane->in_flight--;
	task->lane->n_results++;
}

/* Notes which transfers have ended. */
static void
notice_ends(TimestampTz now)
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

/* What passes for others, but not for this job, ends it some day. */
static void
judge_trouble(SlTask *task)
{
	const SlJob *job = task->jobs;
	bool		 is_denied = task->result.trouble == SL_TROUBLE_DENIED;

	if (task->is_probe)
	{
		if (is_denied)
			task->result.verdict = SL_REFUSED_KEY;
		return;
	}
	if (task->result.verdict != SL_TRY_LATER || !sl_trouble_is_own(task, job))
		return;
	if (is_denied)
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

/* Reads the answers that have come. Tasks that have a verdict join the results. */
static void
advance_tasks(TimestampTz now)
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

/* Sends what is to be sent. What can't be is a result already. */
static void
start_tasks(void)
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

/* ---- one transaction ---- */

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
		sl_trouble_put_off_probe(lane, now);
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

static void
write_results(TimestampTz now)
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

/* May the lane go on, because what it was paused for has changed? */
static bool
pause_is_over(SlLane *lane, bool thoroughly)
{
	ErrorData *error;

	if (strcmp(lane->paused_version, sl_lane_version(lane)) != 0)
		return true;
	/* A key that was refused is looked after by probes, a right that was missing here. */
	return thoroughly && lane->probe_at == DT_NOEND && sl_lane_resolve(lane, &error) != NULL;
}

static void
recheck_paused(TimestampTz now)
{
	bool thoroughly = recheck_at <= now;

	if (thoroughly)
		recheck_at = DT_NOEND;
	for (int i = 0; i < sl_lanes_count(); i++)
	{
		SlLane *lane = sl_lanes_nth(i);

		if (lane->is_paused && pause_is_over(lane, thoroughly))
			sl_store_resume(lane);
	}
}

/* Paused lanes are looked at again some time. */
static void
note_paused(TimestampTz now)
{
	for (int i = 0; i < sl_lanes_count(); i++)
		if (sl_lanes_nth(i)->is_paused)
			recheck_at = Min(recheck_at, later(now, RECHECK_MS));
}

/* Due times that have come make their lanes worth another look. */
static void
look_at_the_clock(TimestampTz now)
{
	TimestampTz began = GetCurrentTimestamp();
	int64		took;

	for (int i = 0; i < sl_lanes_count(); i++)
		if (sl_lanes_nth(i)->next_due <= now)
			lanes_are_stale = true;
	if (!lanes_are_stale || next_look_at > now)
		return;
	sl_store_read_lanes(now);
	if (sl_lanes_lack_role() && sl_store_bind_roles())
		sl_store_read_lanes(now);
	recheck_paused(now);
	lanes_are_stale = false;
	took = GetCurrentTimestamp() - began;
	next_look_at = took > LONG_LOOK_MS * 1000 ? began + LOOK_SHARE * took : 0;
}

/* Says why no jobs are performed (NULL: they are), or else what can't be done about some. */
static void
tell_what_is_waited_for(const char *waits_for)
{
	static char *told = NULL;
	const char	*trouble = waits_for != NULL ? waits_for : sl_store_trouble();

	if (slot->state != SL_WORKER_STARTING &&
		strcmp(told == NULL ? "" : told, trouble == NULL ? "" : trouble) == 0)
		return;
	if (told != NULL)
		pfree(told);
	told = trouble == NULL ? NULL : MemoryContextStrdup(TopMemoryContext, trouble);
	sl_worker_set_state(slot, waits_for == NULL ? SL_WORKER_RUNNING : SL_WORKER_WAITING, trouble);
	if (waits_for != NULL)
		ereport(LOG, (errmsg("the queue's jobs are not performed: %s", trouble)));
	else if (trouble != NULL)
		ereport(LOG, (errmsg("the queue is in trouble: %s", trouble)));
}

/* A copy of a queue waits until it is told to go on. */
static bool
may_perform_jobs(void)
{
	char *trouble = NULL;
	char *foreign;

	if (!sl_queue_perform_jobs)
		trouble = "smartlead.perform_jobs is off";
	else if ((foreign = sl_store_foreign_home()) != NULL && !sl_store_settle())
		trouble = psprintf("the queue was copied from %s; smartlead_adopt_queue() lets it go on "
						   "here",
						   foreign);
	tell_what_is_waited_for(trouble);
	return trouble == NULL;
}

static void
claim_jobs(TimestampTz now)
{
	if (recover_at <= now)
		sl_store_recover();
	look_at_the_clock(now);
	more_to_claim = sl_claim_jobs(task_context, &in_flight, now);
}

static void
work(TimestampTz now)
{
	if (!sl_store_open())
		sl_worker_end_without_extension(slot);
	advance_tasks(now);
	write_results(now);
	if (recheck_at <= now)
		recheck_paused(now);
	more_to_claim = false;
	if (look_around_at <= now)
	{
		look_around_at = later(now, LOOK_AROUND_MS);
		lanes_are_stale = true;
	}
	performs = shutdown_at == 0 && may_perform_jobs();
	if (performs)
		claim_jobs(now);
	else
		lanes_are_stale = false;
	note_paused(now);
}

static void
keep_house(TimestampTz now)
{
	if (sl_store_open())
		housekeeping_at = sl_store_expire() ? now : later(now, HOUSEKEEPING_MS);
}

/* ---- signals ---- */

static volatile sig_atomic_t can_be_cancelled = false; /* something is under way in a transaction */
static volatile sig_atomic_t is_committing = false;

static void
on_sigint(SIGNAL_ARGS)
{
	if (can_be_cancelled)
		StatementCancelHandler(postgres_signal_arg);
}

static void
on_sigterm(SIGNAL_ARGS)
{
	/* Only the wait for a standby looks at this without being told that there is an interrupt. */
	if (is_committing)
		QueryCancelPending = true;
	SignalHandlerForShutdownRequest(postgres_signal_arg);
}

static void
forget_cancel(void)
{
	can_be_cancelled = is_committing = false;
	QueryCancelPending = false;
}

/* ---- transactions ---- */

/* Is what was committed last safe from a crash, as the server is configured? */
static bool is_safe = true;

static void
commit(void)
{
	is_committing = true;
	if (ShutdownRequestPending)
		QueryCancelPending = true;
	CommitTransactionCommand();
	forget_cancel();
	is_safe = sl_last_commit_is_on_standbys();
}

static void
begin_transaction(void)
{
	can_be_cancelled = true;
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	SPI_connect();
	PushActiveSnapshot(GetTransactionSnapshot());
	if (is_careful)
		sl_forbid_deferred_triggers();
}

static void
end_transaction(void)
{
	PopActiveSnapshot();
	SPI_finish();
	commit();
	pgstat_report_stat(false);
}

/* What is in the table can go. What could not be written is written later. */
static void
confirm_results(TimestampTz now)
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

static void
confirm_recovery(TimestampTz now)
{
	if (performs && recover_at <= now)
		recover_at = sl_store_confirm_recovery() ? DT_NOEND : later(now, LOCKED_MS);
}

/* The transaction came to nothing: what it claimed was not claimed, its results are still to write. */
static void
undo_round(TimestampTz now)
{
	dlist_iter iter;

	sl_claim_undo();
	dlist_foreach (iter, &results)
		sl_store_undo(dlist_container(SlTask, node, iter.cur));
	lanes_are_stale = true;
	retry_at = later(now, RETRY_MS);
	careful_until = later(now, CAREFUL_MS);
}

/* False: it failed, and nothing of it counts. */
static bool
in_transaction(void (*action)(TimestampTz now), TimestampTz now, SlStoreTrouble kind,
			   const char *what)
{
	bool volatile done = false;

	MemoryContextReset(round_context);
	PG_TRY();
	{
		begin_transaction();
		action(now);
		end_transaction();
		done = true;
	}
	PG_CATCH();
	{
		ErrorData *error;

		MemoryContextSwitchTo(round_context);
		error = CopyErrorData();
		HOLD_INTERRUPTS();
		EmitErrorReport();
		FlushErrorState();
		forget_cancel();
		AbortCurrentTransaction();
		RESUME_INTERRUPTS();
		sl_store_note(kind, what, error);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(round_context);
	return done;
}

static void
round_of_work(TimestampTz now)
{
	is_careful = careful_until > now;
	sl_store_be_careful(is_careful);
	if (!in_transaction(work, now, SL_ROW_TROUBLE, "a transaction failed"))
	{
		undo_round(now);
		return;
	}
	retry_at = 0;
	sl_claim_confirm(is_safe);
	confirm_results(now);
	confirm_recovery(now);
	if (sl_store_noted() > 0)
		careful_until = later(now, CAREFUL_MS);
	else if (!is_careful)
		sl_store_note(SL_ROW_TROUBLE, NULL, NULL);
}

/* Apart from the work, which an error in here does not concern. */
static void
housekeeping(TimestampTz now)
{
	if (!in_transaction(keep_house, now, SL_HOUSEKEEPING_TROUBLE, "old jobs can't be deleted"))
		housekeeping_at = later(now, HOUSEKEEPING_MS);
	lanes_are_stale = true; /* the next round tells what is in the way */
}

/* ---- the loop ---- */

static TimestampTz
next_deadline(TimestampTz now)
{
	TimestampTz deadline = Min(Min(recheck_at, housekeeping_at), look_around_at);
	dlist_iter	iter;

	if (lanes_are_stale)
		deadline = Min(deadline, next_look_at);
	if (n_ended > 0)
		deadline = Min(deadline, later(oldest_ended, RESULTS_WAIT_MS));
	dlist_foreach (iter, &results)
		deadline = Min(deadline, dlist_container(SlTask, node, iter.cur)->write_after);
	if (performs)
		deadline = Min(deadline, recover_at);
	for (int i = 0; i < sl_lanes_count() && performs; i++)
	{
		const SlLane *lane = sl_lanes_nth(i);

		if (!lane->is_paused)
			deadline = Min(deadline, Max(lane->next_due, next_look_at));
		else if (!lane->is_probing && lane->is_known)
			deadline = Min(deadline, lane->probe_at);
		if (lane->not_before > now)
			deadline = Min(deadline, lane->not_before);
	}
	if (retry_at > now)
		deadline = Max(deadline, retry_at);
	if (shutdown_at != 0)
		deadline = Min(deadline, shutdown_at);
	return deadline;
}

static bool
rest_is_over(TimestampTz now)
{
	for (int i = 0; i < sl_lanes_count() && performs; i++)
	{
		SlLane *lane = sl_lanes_nth(i);

		if (lane->not_before != 0 && lane->not_before <= now)
		{
			lane->not_before = 0;
			return true;
		}
		if (lane->next_due <= now && next_look_at <= now && !lane->is_paused)
			return true;
		if (lane->is_paused && sl_trouble_wants_probe(lane, now))
			return true;
	}
	return false;
}

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

/* Is there something to do in a transaction, and is it worth one now? */
static bool
is_time_to_work(TimestampTz now)
{
	if (retry_at > now)
		return false;
	if ((lanes_are_stale && next_look_at <= now) || more_to_claim || results_are_due(now) ||
		recheck_at <= now || look_around_at <= now || (performs && recover_at <= now) ||
		rest_is_over(now))
		return true;
	if (n_ended == 0)
		return false;
	return n_ended >= RESULTS_TOGETHER || n_ended == count(&in_flight) ||
		   later(oldest_ended, RESULTS_WAIT_MS) <= now;
}

/* Told to end: what has not been sent need not be. */
static void
begin_shutdown(TimestampTz now)
{
	dlist_mutable_iter iter;

	shutdown_at = later(now, SHUTDOWN_GRACE_MS);
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

static void
end_if_asked(TimestampTz now)
{
	if (!ShutdownRequestPending)
		return;
	if (shutdown_at == 0)
		begin_shutdown(now);
	if (now >= shutdown_at || (dlist_is_empty(&in_flight) && dlist_is_empty(&results)))
		proc_exit(0);
}

static bool
wait_for_something(TimestampTz now)
{
	TimestampTz deadline = next_deadline(now);
	long		timeout = -1;

	if (deadline != DT_NOEND)
		timeout = deadline <= now ? 0 : (long) Min((deadline - now + 999) / 1000, INT_MAX);
	return sl_transport_wait(timeout, wait_event);
}

static void
prepare(void)
{
	static const char *const planner_settings[] = {"enable_seqscan", "enable_bitmapscan",
												   "enable_hashjoin", "enable_mergejoin", "jit"};

	slot = sl_worker_begin();
	/* Requests that were sent deserve to be listened to. */
	pqsignal(SIGTERM, on_sigterm);
	pqsignal(SIGINT, on_sigint);
	/* A table may be locked by DDL for long; meanwhile, answers come in. */
	SetConfigOption("lock_timeout", "2s", PGC_SUSET, PGC_S_OVERRIDE);
	/* See store.c. */
	for (int i = 0; i < lengthof(planner_settings); i++)
		SetConfigOption(planner_settings[i], "off", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("plan_cache_mode", "force_generic_plan", PGC_SUSET, PGC_S_OVERRIDE);
	wait_event = sl_wait_event("SmartleadDispatcher");
	task_context =
		AllocSetContextCreate(TopMemoryContext, "smartlead queue tasks", ALLOCSET_DEFAULT_SIZES);
	round_context =
		AllocSetContextCreate(TopMemoryContext, "smartlead queue round", ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(round_context);

	begin_transaction();
	if (!sl_store_open())
		sl_worker_end_without_extension(slot);
	end_transaction();
	MemoryContextSwitchTo(round_context);
}

/* The time; when the clock was set back, what was to come later is done at once. */
static TimestampTz
read_clock(void)
{
	static TimestampTz before = 0;
	TimestampTz		   now = GetCurrentTimestamp();
	dlist_iter		   iter;

	if (now < before)
	{
		sl_lanes_forget_times();
		dlist_foreach (iter, &results)
			dlist_container(SlTask, node, iter.cur)->write_after = now;
		recover_at = Min(recover_at, now);
		careful_until = Min(careful_until, now);
		retry_at = look_around_at = next_look_at = housekeeping_at = 0;
		recheck_at = Min(recheck_at, now);
		oldest_ended = Min(oldest_ended, now);
	}
	before = now;
	return now;
}

void
sl_dispatcher_main(Datum argument)
{
	prepare();
	for (;;)
	{
		TimestampTz now;

		/* A cancellation that came too late for the statement it was meant for. */
		QueryCancelPending = false;
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
			lanes_are_stale = true;
		}
		/* A wait within a statement may have swallowed the latch, so the count is looked at as well. */
		if (sl_queue_has_news())
			lanes_are_stale = true;
		now = read_clock();
		notice_ends(now);
		if (is_time_to_work(now))
		{
			round_of_work(now);
			start_tasks();
		}
		else if (housekeeping_at <= now && shutdown_at == 0)
			housekeeping(now);
		else
		{
			/* The latch is set for new jobs above all, and when the extension is dropped. */
			if (wait_for_something(now))
				lanes_are_stale = true;
		}
		end_if_asked(GetCurrentTimestamp());
	}
}
