/*
 * queue/round.c
 *		A round of the dispatcher's work: what it does in one transaction, and when the next one is due.
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
#include "worker/worker.h"

#define RETRY_MS 1000		   /* after a transaction that failed */
#define CAREFUL_MS 120000	   /* how long each row is then written by itself */
#define LOCKED_MS 500		   /* when a row is locked by somebody else */
#define RECHECK_MS 10000	   /* whether a paused connection has changed */
#define LOOK_AROUND_MS 30000   /* for what nobody tells: COMMIT PREPARED, a dump, replication */
#define HOUSEKEEPING_MS 600000 /* retention */

/*
 * An old snapshot somewhere keeps the indexes' entries for jobs that ended since, and makes a look at
 * the lanes take long. No more than one part in four of the time goes into such looks.
 */
#define LONG_LOOK_MS 20
#define LOOK_SHARE 4

static SlWorkerSlot *slot;
static bool			 lanes_are_stale = true;
static bool			 more_to_claim = false;
static TimestampTz	 retry_at = 0;
static TimestampTz	 careful_until = 0;
static TimestampTz	 recover_at = 0;
static TimestampTz	 recheck_at = DT_NOEND;
static TimestampTz	 look_around_at = 0;
static TimestampTz	 next_look_at = 0; /* at the lanes, after one that took long */
static TimestampTz	 housekeeping_at = 0;
static bool			 performs = false; /* jobs, unless they wait for somebody's word */
static bool			 is_ending = false;

static TimestampTz
later(TimestampTz now, long ms)
{
	return TimestampTzPlusMilliseconds(now, ms);
}

void
sl_round_prepare(SlWorkerSlot *own_slot)
{
	slot = own_slot;
}

void
sl_round_look_again(void)
{
	lanes_are_stale = true;
}

void
sl_round_claim_no_more(void)
{
	is_ending = true;
}

/* ---- paused lanes ---- */

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

/* ---- the work ---- */

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
	more_to_claim = sl_flight_claim(now);
}

static void
work(TimestampTz now)
{
	if (!sl_store_open())
		sl_worker_end_without_extension(slot);
	sl_flight_advance(now);
	sl_flight_write(now);
	if (recheck_at <= now)
		recheck_paused(now);
	more_to_claim = false;
	if (look_around_at <= now)
	{
		look_around_at = later(now, LOOK_AROUND_MS);
		lanes_are_stale = true;
	}
	performs = !is_ending && may_perform_jobs();
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
	sl_flight_undo();
	lanes_are_stale = true;
	retry_at = later(now, RETRY_MS);
	careful_until = later(now, CAREFUL_MS);
}

void
sl_round_work(TimestampTz now)
{
	bool is_careful = careful_until > now;

	sl_store_be_careful(is_careful);
	if (!sl_transaction_run(work, now, SL_ROW_TROUBLE, "a transaction failed"))
	{
		undo_round(now);
		return;
	}
	retry_at = 0;
	sl_claim_confirm(sl_transaction_is_safe());
	sl_flight_confirm(now);
	confirm_recovery(now);
	if (sl_store_noted() > 0)
		careful_until = later(now, CAREFUL_MS);
	else if (!is_careful)
		sl_store_note(SL_ROW_TROUBLE, NULL, NULL);
}

void
sl_round_keep_house(TimestampTz now)
{
	if (!sl_transaction_run(keep_house, now, SL_HOUSEKEEPING_TROUBLE, "old jobs can't be deleted"))
		housekeeping_at = later(now, HOUSEKEEPING_MS);
	lanes_are_stale = true; /* the next round tells what is in the way */
}

/* ---- when ---- */

TimestampTz
sl_round_deadline(TimestampTz now)
{
	TimestampTz deadline = Min(Min(recheck_at, housekeeping_at), look_around_at);

	if (lanes_are_stale)
		deadline = Min(deadline, next_look_at);
	deadline = Min(deadline, sl_flight_deadline());
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

bool
sl_round_is_due(TimestampTz now)
{
	if (retry_at > now)
		return false;
	return (lanes_are_stale && next_look_at <= now) || more_to_claim || recheck_at <= now ||
		   look_around_at <= now || (performs && recover_at <= now) || rest_is_over(now) ||
		   sl_flight_is_due(now);
}

bool
sl_round_house_is_due(TimestampTz now)
{
	return housekeeping_at <= now && !is_ending;
}

void
sl_round_clock_set_back(TimestampTz now)
{
	recover_at = Min(recover_at, now);
	careful_until = Min(careful_until, now);
	retry_at = look_around_at = next_look_at = housekeeping_at = 0;
	recheck_at = Min(recheck_at, now);
}
