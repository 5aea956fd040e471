/*
 * webhook/limits.c
 *		The limit of time for triggers, also for those that won't be stopped.
 *
 * First the server's own statement timer cancels what runs. Code that catches the cancellation and
 * goes on can't be stopped by errors; so some time later the whole process is asked to end, which
 * can't be caught. Nobody has had an answer by then, so Smartlead will send the events again. The next
 * receiver finds in shared memory what those before it died of, and goes carefully for a while,
 * event by event; and those of which it is known are not tried once more.
 *
 * Code that never looks whether it is to end, such as a loop within another language's interpreter,
 * can't be ended but by a signal that takes the whole server down, which is worse: the receiver stands
 * still as long as it runs, and smartlead_workers says so.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include <signal.h>

#include "utils/timeout.h"

#include "webhook/webhook.h"

/* After the cancellation, until the process is ended. */
#define GRACE_MS 2000

/* For how long to be careful after such a death: as long as Smartlead may take to try again. */
#define CAREFUL_S 28800

static const uint8 nobody[SL_FINGERPRINT_LENGTH] = {0};

static TimeoutId timer;
static bool		 timer_registered = false;

/* In the place of one that is remembered already, or of the oldest. */
static void
remember(const uint8 *fingerprint)
{
	SlStubborn *place = &sl_my_stats->stubborn[0];

	for (int i = 0; i < SL_MAX_STUBBORN; i++)
	{
		SlStubborn *other = &sl_my_stats->stubborn[i];

		if (other->at < place->at)
			place = other;
		if (other->at != 0 && memcmp(other->fingerprint, fingerprint, SL_FINGERPRINT_LENGTH) == 0)
		{
			place = other;
			break;
		}
	}
	place->at = sl_now_us();
	memcpy(place->fingerprint, fingerprint, SL_FINGERPRINT_LENGTH);
}

/* Runs in a signal handler. */
static void
end_process(void)
{
	if (sl_my_stats->running)
		remember(sl_my_stats->fingerprint);
	sl_worker_is_stuck("a trigger goes on beyond smartlead.trigger_timeout");
	kill(MyProcPid, SIGTERM);
}

static bool
is_recent(const SlStubborn *stubborn)
{
	return stubborn->at != 0 && sl_now_us() - stubborn->at < INT64CONST(1000000) * CAREFUL_S;
}

bool
sl_limit_was_broken(void)
{
	for (int i = 0; i < SL_MAX_STUBBORN; i++)
		if (is_recent(&sl_my_stats->stubborn[i]))
			return true;
	return false;
}

bool
sl_limit_was_broken_by(const uint8 *fingerprint)
{
	for (int i = 0; i < SL_MAX_STUBBORN; i++)
		if (is_recent(&sl_my_stats->stubborn[i]) &&
			memcmp(sl_my_stats->stubborn[i].fingerprint, fingerprint, SL_FINGERPRINT_LENGTH) == 0)
			return true;
	return false;
}

void
sl_limit_start(const uint8 *fingerprint)
{
	EnableTimeoutParams both[2] = {
		{.id = STATEMENT_TIMEOUT, .type = TMPARAM_AFTER, .delay_ms = sl_trigger_timeout},
		{.type = TMPARAM_AFTER, .delay_ms = sl_trigger_timeout + GRACE_MS}};

	if (!timer_registered)
		timer = RegisterTimeout(USER_TIMEOUT, end_process);
	timer_registered = true;
	both[1].id = timer;
	memcpy(sl_my_stats->fingerprint, fingerprint == NULL ? nobody : fingerprint,
		   SL_FINGERPRINT_LENGTH);
	sl_my_stats->running = true;
	enable_timeouts(both, 2);
}

void
sl_limit_stop(void)
{
	DisableTimeoutParams both[2] = {{.id = STATEMENT_TIMEOUT}, {.id = timer}};

	if (!timer_registered)
		return;
	disable_timeouts(both, 2);
	sl_my_stats->running = false;
	/* The timer may have struck after all was done: that is nobody else's cancellation. */
	QueryCancelPending = false;
}
