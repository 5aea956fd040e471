/*
 * queue/trouble.c
 *		What passes: when a lane rests, who tries whether Smartlead is back, and whose fault it is.
 *
 * Smartlead out of reach, a limit used up, 5xx, a front's web page: all that passes, and ends no job.
 * One such answer may be the fault of the job that got it, so at first the lane only goes on with one
 * job at a time. If that doesn't get through either, the lane rests, longer each time, and a harmless
 * question is asked, the same that smartlead_ping() asks: a job that must not be done twice is no
 * means to find out whether a server is up. When the question is answered, one job is tried, and when
 * that gets through, all may go.
 *
 * A job that fails so again and again, while others of its action get through, has trouble of its
 * own, and some day is given up. So is one that is told each time that its key is refused, while
 * others, or that question, get through by it.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "queue/trouble.h"

#define REST_FIRST_MS 1000
#define REST_MAX_MS 60000

/* A wait that Smartlead asks for is kept up to this, as by the rate limit. */
#define ASKED_MAX_S 3600

/* Whether a key that was refused still is. */
#define PROBE_FIRST_MS 10000
#define PROBE_MAX_MS 600000

static int
n_endpoints(void)
{
	int n = 0;

	while (sl_endpoints[n].name != NULL)
		n++;
	return n;
}

static TimestampTz *
action_through(SlLane *lane, const SlEndpoint *endpoint)
{
	if (lane->actions_through == NULL)
		lane->actions_through =
			MemoryContextAllocZero(TopMemoryContext, sizeof(TimestampTz) * n_endpoints());
	return &lane->actions_through[endpoint - sl_endpoints];
}

/* ---- the lane ---- */

static void
note_success(SlTask *task, TimestampTz now)
{
	SlLane *lane = task->lane;

	lane->through_at = now;
	if (task->is_probe)
	{
		lane->needs_probe = false;
		return;
	}
	*action_through(lane, task->arguments->endpoint) = now;
	/* What was sent before the trouble began doesn't tell that it is over. */
	if (task->claimed_at >= lane->trouble_at)
		lane->failures = 0;
}

static int
rest_ms(const SlLane *lane, const SlResult *result)
{
	/* The first time, when it may be one job's trouble alone, there is none. */
	int doublings = result->trouble == SL_TROUBLE_OF_ALL ? lane->failures : lane->failures - 1;
	int rest = doublings == 0 ? 0 : Min(REST_FIRST_MS << Min(doublings - 1, 10), REST_MAX_MS);

	return Max(rest, Min(result->retry_after, ASKED_MAX_S) * 1000);
}

static void
note_trouble(const SlTask *task, TimestampTz now)
{
	const SlResult *result = &task->result;
	SlLane		   *lane = task->lane;

	/* Many requests were under way when it began, and will all tell of it. */
	if (task->claimed_at < lane->trouble_at)
		return;
	lane->failures++;
	lane->trouble_at = now;
	lane->needs_probe =
		(result->trouble != SL_TROUBLE_OF_SOME && result->trouble != SL_TROUBLE_REFUSED) ||
		lane->failures > 1;
	lane->not_before = TimestampTzPlusMilliseconds(now, rest_ms(lane, result));
}

void
sl_trouble_note(SlTask *task, TimestampTz now)
{
	if (task->result.trouble != SL_NO_TROUBLE)
		note_trouble(task, now);
	else if (task->result.verdict != SL_REFUSED_KEY)
		note_success(task, now);
}

bool
sl_trouble_lasts(const SlLane *lane)
{
	return lane->failures > 0;
}

bool
sl_trouble_wants_probe(const SlLane *lane, TimestampTz now)
{
	if (lane->is_probing || !lane->is_known)
		return false;
	if (lane->is_paused)
		return lane->probe_at <= now;
	return lane->failures > 0 && lane->needs_probe && lane->not_before <= now &&
		   sl_lane_has_work(lane);
}

void
sl_trouble_put_off_probe(SlLane *lane, TimestampTz now)
{
	long wait = Min(PROBE_FIRST_MS << Min(lane->probes, 10), PROBE_MAX_MS);

	lane->probe_at = TimestampTzPlusMilliseconds(now, wait);
	lane->probes++;
}

/* ---- the job ---- */

bool
sl_trouble_is_own(const SlTask *task, const SlJob *job)
{
	SlLane	   *lane = task->lane;
	TimestampTz since = job->tried_at != 0 ? job->tried_at : task->claimed_at;

	switch (task->result.trouble)
	{
		case SL_TROUBLE_OF_SOME:
			return *action_through(lane, task->arguments->endpoint) > since;
		case SL_TROUBLE_DENIED:
			/* Once it may be the key's, which has lost a right while many requests were under way. */
			return job->was_denied && lane->through_at > since;
		case SL_TROUBLE_REFUSED:
			return job->was_refused && lane->through_at > since;
		default:
			return false;
	}
}
