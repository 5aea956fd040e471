/*
 * queue/wakeup.c
 *		How the dispatcher learns of new jobs, and others of the jobs' ends, without asking for them.
 *
 * A transaction that enqueued sets the latch of its database's dispatcher right after its commit,
 * when the rows can be seen. Nobody polls. Those who wait for a job sleep on one condition variable,
 * which is told whenever jobs have ended.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "access/xact.h"
#include "storage/condition_variable.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"

#include "queue/queue.h"
#include "worker/worker.h"

/* A clock that is set back further than this is not made up for. */
#define MAX_STEP_BACK (10 * USECS_PER_MINUTE)

typedef struct SharedQueue
{
	pg_atomic_uint32  commits; /* that enqueued, in the whole cluster */
	pg_atomic_uint64  latest;  /* the latest place in the order of the jobs */
	ConditionVariable job_ended;
} SharedQueue;

static SharedQueue *shared = NULL;
static bool			callback_is_registered = false;
static bool			wake_wanted = false;

Size
sl_queue_shmem_size(void)
{
	return MAXALIGN(sizeof(SharedQueue));
}

void
sl_queue_shmem_startup(void)
{
	bool found;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	shared = ShmemInitStruct("smartlead queue", sl_queue_shmem_size(), &found);
	if (!found)
	{
		pg_atomic_init_u32(&shared->commits, 0);
		pg_atomic_init_u64(&shared->latest, 0);
		ConditionVariableInit(&shared->job_ended);
	}
	LWLockRelease(AddinShmemInitLock);
}

/*
 * Without preload, the first process that needs it makes the structure; it is small enough for what
 * the server keeps in reserve.
 */
static SharedQueue *
get_shared(void)
{
	if (shared == NULL)
		sl_queue_shmem_startup();
	return shared;
}

static int
dispatcher_kind(void)
{
	for (int i = 0; i < sl_n_worker_kinds; i++)
		if (strcmp(sl_worker_kinds[i].function, "sl_dispatcher_main") == 0)
			return i;
	pg_unreachable();
}

static void
wake_dispatcher(void)
{
	SlWorkerSlot *slot = sl_worker_find(MyDatabaseId, dispatcher_kind(), 0);
	Latch		 *latch = slot != NULL ? slot->latch : NULL;

	/* A latch is a part of shared memory that outlives its process, so one too many does no harm. */
	if (latch != NULL)
		SetLatch(latch);
}

static void
on_transaction_end(XactEvent event, void *arg)
{
	if (!wake_wanted)
		return;
	switch (event)
	{
		case XACT_EVENT_COMMIT:
			wake_wanted = false;
			pg_atomic_fetch_add_u32(&shared->commits, 1);
			wake_dispatcher();
			ConditionVariableBroadcast(&shared->job_ended);
			break;
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PREPARE:
			wake_wanted = false;
			break;
		default:
			break;
	}
}

void
sl_queue_wake_at_commit(void)
{
	if (!callback_is_registered)
	{
		/* Attach now: after the commit, nothing may throw. */
		get_shared();
		sl_worker_shared();
		RegisterXactCallback(on_transaction_end, NULL);
		callback_is_registered = true;
	}
	wake_wanted = true;
}

TimestampTz
sl_queue_place(TimestampTz now)
{
	pg_atomic_uint64 *latest = &get_shared()->latest;
	uint64			  before = pg_atomic_read_u64(latest);

	for (;;)
	{
		if ((TimestampTz) before > now && (TimestampTz) before - now <= MAX_STEP_BACK)
			return (TimestampTz) before;
		if (pg_atomic_compare_exchange_u64(latest, &before, (uint64) now))
			return now;
	}
}

bool
sl_queue_has_news(void)
{
	static uint32 seen = 0;
	uint32		  commits = pg_atomic_read_u32(&get_shared()->commits);
	bool		  news = commits != seen;

	seen = commits;
	return news;
}

bool
sl_dispatcher_runs(void)
{
	return sl_worker_find(MyDatabaseId, dispatcher_kind(), 0) != NULL;
}

void
sl_queue_announce(void)
{
	ConditionVariableBroadcast(&get_shared()->job_ended);
}

void
sl_queue_begin_wait(void)
{
	ConditionVariablePrepareToSleep(&get_shared()->job_ended);
}

void
sl_queue_wait(long timeout_ms)
{
	ConditionVariableTimedSleep(&shared->job_ended, timeout_ms, sl_wait_event("SmartleadJob"));
}

void
sl_queue_end_wait(void)
{
	ConditionVariableCancelSleep();
}
