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

#include "libpq/pqsignal.h"
#include "postmaster/interrupt.h"
#include "utils/timestamp.h"

#include "queue/dispatcher.h"
#include "queue/queue.h"
#include "worker/worker.h"

#define SHUTDOWN_GRACE_MS 3000 /* for requests that were sent */

static uint32	   wait_event;
static TimestampTz shutdown_at = 0; /* 0: not asked to end */

/* Told to end: what has not been sent need not be. */
static void
begin_shutdown(TimestampTz now)
{
	shutdown_at = TimestampTzPlusMilliseconds(now, SHUTDOWN_GRACE_MS);
	sl_round_claim_no_more();
	sl_flight_give_back_unsent();
}

static void
end_if_asked(TimestampTz now)
{
	if (!ShutdownRequestPending)
		return;
	if (shutdown_at == 0)
		begin_shutdown(now);
	if (now >= shutdown_at || sl_flight_is_over())
		proc_exit(0);
}

static bool
wait_for_something(TimestampTz now)
{
	TimestampTz deadline = sl_round_deadline(now);
	long		timeout = -1;

	if (shutdown_at != 0)
		deadline = Min(deadline, shutdown_at);
	if (deadline != DT_NOEND)
		timeout = deadline <= now ? 0 : (long) Min((deadline - now + 999) / 1000, INT_MAX);
	return sl_transport_wait(timeout, wait_event);
}

static void
prepare(void)
{
	static const char *const planner_settings[] = {"enable_seqscan", "enable_bitmapscan",
												   "enable_hashjoin", "enable_mergejoin", "jit"};

	sl_round_prepare(sl_worker_begin());
	sl_transaction_prepare();
	sl_flight_prepare();
	/* A table may be locked by DDL for long; meanwhile, answers come in. */
	SetConfigOption("lock_timeout", "2s", PGC_SUSET, PGC_S_OVERRIDE);
	/* See statement.c. */
	for (int i = 0; i < lengthof(planner_settings); i++)
		SetConfigOption(planner_settings[i], "off", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("plan_cache_mode", "force_generic_plan", PGC_SUSET, PGC_S_OVERRIDE);
	wait_event = sl_wait_event("SmartleadDispatcher");
}

/* The time; when the clock was set back, what was to come later is done at once. */
static TimestampTz
read_clock(void)
{
	static TimestampTz before = 0;
	TimestampTz		   now = GetCurrentTimestamp();

	if (now < before)
	{
		sl_lanes_forget_times();
		sl_flight_clock_set_back(now);
		sl_round_clock_set_back(now);
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
			sl_round_look_again();
		}
		/* A wait within a statement may have swallowed the latch, so the count is looked at as well. */
		if (sl_queue_has_news())
			sl_round_look_again();
		now = read_clock();
		sl_flight_notice_ends(now);
		if (sl_round_is_due(now))
		{
			sl_round_work(now);
			sl_flight_start();
		}
		else if (sl_round_house_is_due(now))
			sl_round_keep_house(now);
		else
		{
			/* The latch is set for new jobs above all, and when the extension is dropped. */
			if (wait_for_something(now))
				sl_round_look_again();
		}
		end_if_asked(GetCurrentTimestamp());
	}
}
