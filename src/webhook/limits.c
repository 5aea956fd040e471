/*
 * webhook/limits.c
 *		The limit of time for triggers, also for those that won't be stopped.
 *
 * First the server's own statement timer cancels what runs. Code that catches the cancellation and
 * goes on can't be stopped by errors; so some time later the whole process is ended, which nothing
 * can catch. Nobody has had an answer by then, so Smartlead will send the events again. The next
 * receiver finds in shared memory what the one before it died of, and goes carefully for a while,
 * event by event; and when it is known which event it was, that one is not tried once more.
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

static void
end_process(void)
{
	sl_my_stats->stubborn_at = sl_my_stats->running ? sl_now_us() : 0;
	memcpy(sl_my_stats->stubborn, sl_my_stats->fingerprint, SL_FINGERPRINT_LENGTH);
	kill(MyProcPid, SIGTERM);
}

bool
sl_limit_was_broken(void)
{
	return sl_my_stats->stubborn_at != 0 &&
		   sl_now_us() - sl_my_stats->stubborn_at < INT64CONST(1000000) * CAREFUL_S;
}

bool
sl_limit_was_broken_by(const uint8 *fingerprint)
{
	return sl_limit_was_broken() &&
		   memcmp(sl_my_stats->stubborn, fingerprint, SL_FINGERPRINT_LENGTH) == 0;
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
