/*
 * worker/deadline.c
 *		The limit of time for users' code that a worker runs, also for such as won't be stopped.
 *
 * First the server's own statement timer cancels what runs. Code that catches the cancellation and
 * goes on can't be stopped by errors; so some time later the whole process is asked to end, which
 * can't be caught. Its last words are for the worker that takes its place, which would else do the
 * same again.
 *
 * Code that never looks whether it is to end, such as a loop within another language's interpreter,
 * can't be ended but by a signal that takes the whole server down, which is worse: the worker stands
 * still as long as it runs, and smartlead_workers says so.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include <signal.h>

#include "miscadmin.h"
#include "utils/timeout.h"

#include "worker/worker.h"

/* After the cancellation, until the process is ended. */
#define GRACE_MS 2000

static TimeoutId timer;
static bool		 timer_registered = false;
static void (*last_words)(void);

/* Runs in a signal handler. */
static void
end_process(void)
{
	last_words();
	sl_worker_is_stuck("a trigger goes on beyond smartlead.trigger_timeout");
	kill(MyProcPid, SIGTERM);
}

void
sl_deadline_start(int ms, void (*words)(void))
{
	EnableTimeoutParams both[2] = {{.id = STATEMENT_TIMEOUT, .type = TMPARAM_AFTER, .delay_ms = ms},
								   {.type = TMPARAM_AFTER, .delay_ms = ms + GRACE_MS}};

	if (!timer_registered)
		timer = RegisterTimeout(USER_TIMEOUT, end_process);
	timer_registered = true;
	last_words = words;
	both[1].id = timer;
	enable_timeouts(both, 2);
}

void
sl_deadline_stop(void)
{
	DisableTimeoutParams both[2] = {{.id = STATEMENT_TIMEOUT}, {.id = timer}};

	if (!timer_registered)
		return;
	disable_timeouts(both, 2);
	/* The timer may have struck after all was done: that is nobody else's cancellation. */
	QueryCancelPending = false;
}
