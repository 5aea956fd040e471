/*
 * http/ratelimit.c
 *		The requests that one API key may make: sliding windows, shared by the whole cluster.
 *
 * Every key in use has a slot: the times of its last requests, in a ring. A request is granted when
 * each of its connection's windows has room, and its time is noted at once, so that no two sessions
 * can get the same place. Nothing here waits: who is refused is told when to ask again.
 *
 * With the module in shared_preload_libraries the slots are in shared memory and count for all
 * sessions. Otherwise, and for a key that finds all shared slots taken, they are the backend's own.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "storage/lwlock.h"
#include "storage/shmem.h"

#include "http/ratelimit.h"

#define SHARED_SLOTS 64
#define LOCAL_SLOTS 8
#define MAX_WAITERS 16

/* A window's margin is half a percent, within these bounds. */
#define MIN_MARGIN (10 * INT64CONST(1000))
#define MAX_MARGIN (250 * INT64CONST(1000))

/*
 * The service counts a request when it arrives there: after it was sent, before it was answered. A
 * slow answer is slow for other reasons than the way to the service, so no more than this is
 * allowed for.
 */
#define ARRIVAL_LAG (50 * INT64CONST(1000))

/* For that long around the moment when a session may go, its place is kept from the dispatcher. */
#define RESERVATION (50 * INT64CONST(1000))

/*
 * Sessions go before the dispatcher, but not for ever: when they have taken so many places for which
 * it waited, the next one is its. It is waited for so long, since it may have given up waiting.
 */
#define PLACES_BEFORE_BACKGROUND 3
#define BACKGROUND_PATIENCE (500 * INT64CONST(1000))

/*
 * The ring is in the order of the grants, but an entry's time is when its request was sent, which
 * connecting can delay. Counting backwards stops at an entry that is older by this than the window.
 */
#define MAX_SENDING_DELAY (60 * USECS_PER_SEC)

/* What the service says about its next reset, or how long to wait, is believed up to this. */
#define MAX_LEARNT_BLOCK (3600 * USECS_PER_SEC)

/* Nobody is told to wait longer than this without asking again. */
#define MAX_WAIT_MS INT64CONST(3600000)

/*
 * A request under way was perhaps sent long after it was granted, when it had to connect first. As
 * long as it is not answered it counts as if it had been, for up to a window's length, in these
 * bounds.
 */
#define MIN_UNCERTAINTY ARRIVAL_LAG
#define MAX_UNCERTAINTY USECS_PER_SEC

/* Set in an entry's time, whose lowest bit has no other use, until its request is answered. */
#define UNDER_WAY INT64CONST(1)

/* Requests with our key that were not ours, as the service's headers betray them. */
typedef struct Foreign
{
	SlRateWindow window;
	int32		 count;
	SlInstant	 until;
} Foreign;

/* A session that was refused, and the moment for which it was told to ask again. */
typedef struct Waiter
{
	int		  pid;
	SlInstant at;
} Waiter;

typedef struct Slot
{
	bool	  used;
	uint8	  key_hash[SL_KEY_HASH_LENGTH];
	uint64	  first; /* sequence of this key's first entry; a slot's sequences never start anew */
	uint64	  next;
	SlInstant seen;	   /* when the slot was last looked at */
	SlInstant last;	   /* the latest time of any entry */
	int64	  longest; /* the longest window asked for, margin included */
	SlInstant blocked_until;
	Foreign	  foreign[SL_RATE_MAX_WINDOWS];
	Waiter	  waiters[MAX_WAITERS];
	SlInstant background_at; /* when the dispatcher was told to ask again; 0: it doesn't wait */
	int		  passed_over;	 /* places that sessions have taken since it waits */
} Slot;

typedef int64 Ring[SL_RATE_MAX_COUNT];

/* The rings are behind the slots: untouched ones cost no memory. */
typedef struct SharedSlots
{
	LWLock lock;
	Slot   slots[SHARED_SLOTS];
	Ring   rings[SHARED_SLOTS];
} SharedSlots;

static SharedSlots *shared = NULL;
static Slot			local_slots[LOCAL_SLOTS];
static Ring			local_rings[LOCAL_SLOTS];

/* A slot that is ours to look at, until release(). */
typedef struct Access
{
	bool	  shared;
	int		  number; /* local slots are numbered after the shared ones */
	Slot	 *slot;
	int64	 *ring;
	SlInstant now;
} Access;

Size
sl_rate_shmem_size(void)
{
	return MAXALIGN(sizeof(SharedSlots));
}

void
sl_rate_shmem_startup(void)
{
	bool found;
	int	 tranche;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	shared = ShmemInitStruct("smartlead rate limits", sizeof(SharedSlots), &found);
	if (!found)
	{
		memset(shared, 0, offsetof(SharedSlots, rings));
		LWLockInitialize(&shared->lock, LWLockNewTrancheId());
	}
	tranche = shared->lock.tranche;
	LWLockRelease(AddinShmemInitLock);
	LWLockRegisterTranche(tranche, "smartlead_rate");
}

static int64
period_of(const SlRateWindow *window)
{
	return window->period_ms * INT64CONST(1000);
}

/* A window is taken a little longer than it is: clocks differ, and so do ways through the net. */
static int64
span_of(const SlRateWindow *window)
{
	int64 margin = period_of(window) / 200;

	return period_of(window) + Min(Max(margin, MIN_MARGIN), MAX_MARGIN);
}

static int64
uncertainty_of(const SlRateWindow *window)
{
	return Min(Max(period_of(window), MIN_UNCERTAINTY), MAX_UNCERTAINTY);
}

static uint64
oldest_sequence(const Slot *slot)
{
	if (slot->next - slot->first > SL_RATE_MAX_COUNT)
		return slot->next - SL_RATE_MAX_COUNT;
	return slot->first;
}

static Access
access_slot(bool is_shared, int i, SlInstant now)
{
	Access access;

	access.shared = is_shared;
	access.number = is_shared ? i : SHARED_SLOTS + i;
	access.slot = is_shared ? &shared->slots[i] : &local_slots[i];
	access.ring = is_shared ? shared->rings[i] : local_rings[i];
	access.now = now;
	access.slot->seen = now;
	return access;
}

static void
release(Access *access)
{
	if (access->shared)
		LWLockRelease(&shared->lock);
}

static int
find_slot(const Slot *slots, int n_slots, const uint8 *key_hash)
{
	for (int i = 0; i < n_slots; i++)
	{
		if (slots[i].used && memcmp(slots[i].key_hash, key_hash, SL_KEY_HASH_LENGTH) == 0)
			return i;
	}
	return -1;
}

/* Does the slot still say anything about what its key may do? */
static bool
in_force(const Slot *slot, SlInstant now)
{
	if (!slot->used)
		return false;
	if (now < slot->blocked_until || now < slot->last + slot->longest + MAX_UNCERTAINTY)
		return true;
	for (int i = 0; i < SL_RATE_MAX_WINDOWS; i++)
	{
		if (now < slot->foreign[i].until)
			return true;
	}
	return false;
}

/* A slot for a key that has none: the one not looked at for longest. -1: all are in force. */
static int
make_slot(Slot *slots, int n_slots, const uint8 *key_hash, SlInstant now, bool force)
{
	int	   victim = -1;
	Slot  *slot;
	uint64 next;

	for (int i = 0; i < n_slots; i++)
	{
		if (!force && in_force(&slots[i], now))
			continue;
		if (victim < 0 || slots[i].seen < slots[victim].seen)
			victim = i;
	}
	if (victim < 0)
		return -1;

	slot = &slots[victim];
	next = slot->next;
	memset(slot, 0, sizeof(*slot));
	slot->first = slot->next = next;
	slot->used = true;
	memcpy(slot->key_hash, key_hash, SL_KEY_HASH_LENGTH);
	slot->seen = now;
	return victim;
}

static void
warn_about_local_slot(void)
{
	static bool warned = false;

	if (warned)
		return;
	warned = true;
	ereport(WARNING, errmsg("more than %d Smartlead API keys are in use at once", SHARED_SLOTS),
			errdetail("This session counts its requests by itself; the limit may be exceeded by "
					  "several sessions together."));
}

/* The key's slot, made if need be, and locked if it is shared. */
static Access
access_key(const uint8 *key_hash)
{
	SlInstant now;
	int		  i;

	/* A key that began with a slot of our own stays there while that is in force. */
	i = find_slot(local_slots, LOCAL_SLOTS, key_hash);
	now = sl_clock_now();
	if (i >= 0 && (!shared || in_force(&local_slots[i], now)))
		return access_slot(false, i, now);

	if (shared)
	{
		LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
		now = sl_clock_now();
		i = find_slot(shared->slots, SHARED_SLOTS, key_hash);
		if (i < 0)
			i = make_slot(shared->slots, SHARED_SLOTS, key_hash, now, false);
		if (i >= 0)
			return access_slot(true, i, now);
		LWLockRelease(&shared->lock);
		warn_about_local_slot();
	}

	i = make_slot(local_slots, LOCAL_SLOTS, key_hash, now, false);
	if (i < 0)
		i = make_slot(local_slots, LOCAL_SLOTS, key_hash, now, true);
	return access_slot(false, i, now);
}

/*
 * Counts the requests that may have reached the service after "since", those under way if they were
 * granted at most "uncertainty" before. *oldest: when, at the earliest, the first of them did.
 */
static int
count_since(const Access *access, SlInstant since, int64 uncertainty, SlInstant *oldest)
{
	const Slot *slot = access->slot;
	uint64		stop = oldest_sequence(slot);
	int			count = 0;

	*oldest = SL_INSTANT_NEVER;
	for (uint64 s = slot->next; s > stop; s--)
	{
		int64 entry = access->ring[(s - 1) % SL_RATE_MAX_COUNT];

		if (entry > since)
		{
			count++;
			*oldest = Min(*oldest, entry);
		}
		else if ((entry & UNDER_WAY) && entry + uncertainty > since)
		{
			/* It may be answered any moment, so it is worth asking again soon. */
			count++;
			*oldest = Min(*oldest, Min(entry + uncertainty, since + ARRIVAL_LAG));
		}
		else if (entry < since - MAX_SENDING_DELAY)
			break;
	}
	return count;
}

static bool
same_window(const SlRateWindow *a, const SlRateWindow *b)
{
	return a->count == b->count && a->period_ms == b->period_ms;
}

/* What others take of a window, and until when we believe that. */
static int
count_foreign(const Access *access, const SlRateWindow *window, SlInstant *until)
{
	for (int i = 0; i < SL_RATE_MAX_WINDOWS; i++)
	{
		const Foreign *foreign = &access->slot->foreign[i];

		if (access->now < foreign->until && same_window(&foreign->window, window))
		{
			*until = foreign->until;
			return foreign->count;
		}
	}
	*until = SL_INSTANT_NEVER;
	return 0;
}

static bool
is_waiting(const Waiter *waiter, SlInstant now)
{
	return now >= waiter->at - RESERVATION && now < waiter->at + RESERVATION;
}

/* Does the dispatcher still wait for a place, as far as can be told? */
static bool
background_waits(const Access *access)
{
	return access->now < access->slot->background_at + BACKGROUND_PATIENCE;
}

/* Is the place that is free now the dispatcher's, which may come for it any moment? */
static bool
is_background_turn(const Access *access)
{
	return access->slot->passed_over >= PLACES_BEFORE_BACKGROUND && background_waits(access) &&
		   access->now >= access->slot->background_at - BACKGROUND_PATIENCE;
}

/* Room for the dispatcher is what the sessions that are due now leave. Returns when it may be. */
static SlInstant
background_turn(const Access *access, int room)
{
	SlInstant turn = SL_INSTANT_NEVER;
	int		  waiting = 0;

	for (int i = 0; i < MAX_WAITERS; i++)
	{
		const Waiter *waiter = &access->slot->waiters[i];

		if (is_waiting(waiter, access->now))
		{
			waiting++;
			turn = Min(turn, waiter->at + RESERVATION);
		}
	}
	return room > waiting || access->slot->passed_over >= PLACES_BEFORE_BACKGROUND ? access->now
																				   : turn;
}

/* The earliest moment at which a request may be granted: now, or when it is worth asking again. */
static SlInstant
earliest_grant(const Access *access, const SlRateLimit *limit, SlRatePriority priority)
{
	SlInstant at = Max(access->now, access->slot->blocked_until);
	int		  room = PG_INT32_MAX;

	for (int i = 0; i < limit->n_windows; i++)
	{
		const SlRateWindow *window = &limit->window[i];
		int64				span = span_of(window);
		SlInstant			oldest;
		SlInstant			until;
		int					free;

		free = window->count -
			   count_since(access, access->now - span, uncertainty_of(window), &oldest) -
			   count_foreign(access, window, &until);
		if (free <= 0)
			at = Max(at, oldest == SL_INSTANT_NEVER ? until : Min(oldest + span, until));
		room = Min(room, free);
	}
	if (at > access->now)
		return at;
	if (priority == SL_RATE_BACKGROUND)
		return background_turn(access, room);
	return room == 1 && is_background_turn(access) ? access->now + RESERVATION : at;
}

/* Remembers that this session waits for a place at "at"; 0: that it waits no more. */
static void
note_waiter(const Access *access, SlInstant at)
{
	Waiter *waiters = access->slot->waiters;
	int		chosen = 0;

	for (int i = 0; i < MAX_WAITERS; i++)
	{
		if (waiters[i].pid == MyProcPid)
		{
			waiters[i].at = at;
			return;
		}
		if (waiters[i].at < waiters[chosen].at)
			chosen = i;
	}
	if (at != 0)
	{
		waiters[chosen].pid = MyProcPid;
		waiters[chosen].at = at;
	}
}

/* Keeps account of who goes before whom. */
static void
note_turn(const Access *access, SlRatePriority priority, SlInstant at)
{
	Slot *slot = access->slot;
	bool  granted = at <= access->now;

	if (priority == SL_RATE_INTERACTIVE)
	{
		note_waiter(access, granted ? 0 : at);
		if (granted)
			slot->passed_over = background_waits(access) ? slot->passed_over + 1 : 0;
		return;
	}
	slot->background_at = granted ? 0 : at;
	if (granted)
		slot->passed_over = 0;
}

static void
grant(const Access *access, const SlRateLimit *limit, SlRateTicket *ticket)
{
	Slot *slot = access->slot;

	ticket->slot = access->number;
	ticket->sequence = slot->next++;
	access->ring[ticket->sequence % SL_RATE_MAX_COUNT] = access->now | UNDER_WAY;
	slot->last = Max(slot->last, access->now);
	for (int i = 0; i < limit->n_windows; i++)
		slot->longest = Max(slot->longest, span_of(&limit->window[i]));
}

long
sl_rate_acquire(const uint8 *key_hash, const SlRateLimit *limit, SlRatePriority priority,
				SlRateTicket *ticket)
{
	Access	  access = access_key(key_hash);
	SlInstant at = earliest_grant(&access, limit, priority);

	ticket->slot = -1;
	ticket->sequence = 0;
	if (at <= access.now)
		grant(&access, limit, ticket);
	note_turn(&access, priority, at);
	release(&access);

	if (at <= access.now)
		return 0;
	return (long) Min((at - access.now + 999) / 1000, MAX_WAIT_MS);
}

void
sl_rate_done(const SlRateTicket *ticket, SlInstant sent, SlInstant answered)
{
	bool   is_shared = ticket->slot < SHARED_SLOTS;
	Access access;

	if (ticket->slot < 0)
		return;
	if (is_shared)
		LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	access = access_slot(is_shared, is_shared ? ticket->slot : ticket->slot - SHARED_SLOTS,
						 sl_clock_now());

	/* The slot may have gone to another key, or the ring round, since the request was granted. */
	if (ticket->sequence >= oldest_sequence(access.slot) && ticket->sequence < access.slot->next)
	{
		int64	 *entry = &access.ring[ticket->sequence % SL_RATE_MAX_COUNT];
		SlInstant arrival = Min(Min(answered, sent + ARRIVAL_LAG), access.now);

		*entry = (Max(*entry, arrival) + UNDER_WAY) & ~UNDER_WAY;
		access.slot->last = Max(access.slot->last, *entry);
	}
	release(&access);
}

/* The window that the service's limit speaks of: the longest with that count, or NULL. */
static const SlRateWindow *
window_with_count(const SlRateLimit *limit, int64 count)
{
	const SlRateWindow *found = NULL;

	for (int i = 0; i < limit->n_windows; i++)
	{
		const SlRateWindow *window = &limit->window[i];

		if (window->count == count && (!found || window->period_ms > found->period_ms))
			found = window;
	}
	return found;
}

static void
learn_foreign(const Access *access, const SlRateWindow *window, int64 used, SlInstant sent)
{
	SlInstant oldest;
	int64	  foreign_count;
	int		  chosen = 0;
	Foreign	 *foreign = access->slot->foreign;

	/*
	 * The service said so at some time since the request was sent. Of our own requests it cannot
	 * have counted more than those that reached it since a window before that, and what it counted
	 * beyond them is not ours.
	 */
	foreign_count = used - count_since(access, Min(sent, access->now) - span_of(window),
									   MAX_SENDING_DELAY, &oldest);
	if (foreign_count <= 0)
		return;

	for (int i = 0; i < SL_RATE_MAX_WINDOWS; i++)
	{
		if (same_window(&foreign[i].window, window))
		{
			chosen = i;
			break;
		}
		if (foreign[i].until < foreign[chosen].until)
			chosen = i;
	}

	/* Requests of ours under way hide some of the others': the most that was seen holds. */
	if (same_window(&foreign[chosen].window, window) && access->now < foreign[chosen].until &&
		foreign_count < foreign[chosen].count)
		return;
	foreign[chosen].window = *window;
	foreign[chosen].count = (int32) foreign_count;
	foreign[chosen].until = access->now + span_of(window);
}

void
sl_rate_learn(const uint8 *key_hash, const SlRateLimit *limit, const SlRateHeaders *headers,
			  SlInstant sent)
{
	const SlRateWindow *window = window_with_count(limit, headers->limit);
	Access				access;

	if (headers->limit < 0 || headers->remaining < 0)
		return;
	if (window == NULL && (headers->remaining > 0 || headers->reset < 0))
		return;

	access = access_key(key_hash);
	if (window)
		learn_foreign(&access, window, headers->limit - headers->remaining, sent);
	else
	{
		int64 left = headers->reset - (int64) time(NULL);

		if (left > 0 && left < MAX_LEARNT_BLOCK / USECS_PER_SEC)
			access.slot->blocked_until =
				Max(access.slot->blocked_until, access.now + left * USECS_PER_SEC);
	}
	release(&access);
}

void
sl_rate_block(const uint8 *key_hash, int64 ms)
{
	Access	  access = access_key(key_hash);
	SlInstant until = access.now + Min(ms, MAX_LEARNT_BLOCK / 1000) * 1000;

	access.slot->blocked_until = Max(access.slot->blocked_until, until);
	release(&access);
}

int64
sl_rate_blocked(const uint8 *key_hash)
{
	Access access = access_key(key_hash);
	int64  left = access.slot->blocked_until - access.now;

	release(&access);
	return Max(left, 0) / 1000;
}
