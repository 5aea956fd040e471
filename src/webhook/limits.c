/*
 * webhook/limits.c
 *		The limit of time for triggers on events, and the memory of those that broke it.
 *
 * When a receiver could only be ended (worker/deadline.c), nobody has had an answer, so Smartlead
 * will send the events again. The next receiver finds in shared memory what those before it died of,
 * and goes carefully for a while, event by event; and those of which it is known are not tried once
 * more.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "webhook/webhook.h"

/* For how long to be careful after such a death: as long as Smartlead may take to try again. */
#define CAREFUL_S 28800

static const uint8 nobody[SL_FINGERPRINT_LENGTH] = {0};

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
remember_what_runs(void)
{
	if (sl_my_stats->running)
		remember(sl_my_stats->fingerprint);
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
	memcpy(sl_my_stats->fingerprint, fingerprint == NULL ? nobody : fingerprint,
		   SL_FINGERPRINT_LENGTH);
	sl_my_stats->running = true;
	sl_deadline_start(sl_trigger_timeout, remember_what_runs);
}

void
sl_limit_stop(void)
{
	sl_deadline_stop();
	if (sl_my_stats != NULL)
		sl_my_stats->running = false;
}
