/*
 * queue/wakeup.c
 *		Who dispatches which database, and how he learns of new jobs without asking for them.
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
#include "storage/proc.h"
#include "storage/shmem.h"
#include "storage/spin.h"

#include "queue/queue.h"

#define MAX_DISPATCHERS 64

typedef struct Dispatcher
{
	Oid	   database;
	pid_t  pid; /* 0: a free place */
	Latch *latch;
} Dispatcher;

typedef struct SharedQueue
{
	slock_t			  mutex;
	Dispatcher		  dispatchers[MAX_DISPATCHERS];
	ConditionVariable job_ended;
} SharedQueue;

PG_FUNCTION_INFO_V1(smartlead_dispatchers);

static SharedQueue *shared = NULL;
static bool			callback_is_registered = false;
static bool			wake_wanted = false;

Size
sl_queue_shmem_size(void)
{
	return sizeof(SharedQueue);
}

void
sl_queue_shmem_startup(void)
{
	bool found;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	shared = ShmemInitStruct("smartlead queue", sizeof(SharedQueue), &found);
	if (!found)
	{
		memset(shared, 0, sizeof(SharedQueue));
		SpinLockInit(&shared->mutex);
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

/* Sets the latch of this database's dispatcher, if there is one. */
static void
wake_dispatcher(void)
{
	Latch *latch = NULL;

	SpinLockAcquire(&shared->mutex);
	for (int i = 0; i < MAX_DISPATCHERS; i++)
		if (shared->dispatchers[i].pid != 0 && shared->dispatchers[i].database == MyDatabaseId)
			latch = shared->dispatchers[i].latch;
	SpinLockRelease(&shared->mutex);
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
		get_shared();
		RegisterXactCallback(on_transaction_end, NULL);
		callback_is_registered = true;
	}
	wake_wanted = true;
}

static void
unregister(int code, Datum arg)
{
	SpinLockAcquire(&shared->mutex);
	for (int i = 0; i < MAX_DISPATCHERS; i++)
		if (shared->dispatchers[i].pid == MyProcPid)
			shared->dispatchers[i].pid = 0;
	SpinLockRelease(&shared->mutex);
}

bool
sl_dispatcher_register(void)
{
	Dispatcher *place = NULL;
	bool		taken = false;

	get_shared();
	SpinLockAcquire(&shared->mutex);
	for (int i = 0; i < MAX_DISPATCHERS; i++)
		if (shared->dispatchers[i].pid == 0)
			place = place != NULL ? place : &shared->dispatchers[i];
		else
			taken = taken || shared->dispatchers[i].database == MyDatabaseId;
	if (place != NULL && !taken)
	{
		place->database = MyDatabaseId;
		place->latch = MyLatch;
		place->pid = MyProcPid;
	}
	SpinLockRelease(&shared->mutex);
	if (!taken && place == NULL)
		ereport(ERROR, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
						errmsg("too many databases have a dispatcher"),
						errdetail("There can be %d.", MAX_DISPATCHERS)));
	if (!taken)
		before_shmem_exit(unregister, (Datum) 0);
	return !taken;
}

bool
sl_dispatcher_runs(void)
{
	bool runs = false;

	get_shared();
	SpinLockAcquire(&shared->mutex);
	for (int i = 0; i < MAX_DISPATCHERS; i++)
		runs = runs || (shared->dispatchers[i].pid != 0 &&
						shared->dispatchers[i].database == MyDatabaseId);
	SpinLockRelease(&shared->mutex);
	return runs;
}

void
sl_queue_announce(void)
{
	ConditionVariableBroadcast(&get_shared()->job_ended);
}

void
sl_queue_wait(long timeout_ms)
{
	ConditionVariableTimedSleep(&get_shared()->job_ended, timeout_ms,
								sl_wait_event("SmartleadJob"));
}

void
sl_queue_end_wait(void)
{
	ConditionVariableCancelSleep();
}

/* smartlead_dispatchers() → (database oid, pid integer): the dispatchers that run. */
Datum
smartlead_dispatchers(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Dispatcher	   copy[MAX_DISPATCHERS];

	sl_init_materialized_srf(fcinfo);
	get_shared();
	SpinLockAcquire(&shared->mutex);
	memcpy(copy, shared->dispatchers, sizeof(copy));
	SpinLockRelease(&shared->mutex);
	for (int i = 0; i < MAX_DISPATCHERS; i++)
	{
		Datum values[2] = {ObjectIdGetDatum(copy[i].database), Int32GetDatum(copy[i].pid)};
		bool  nulls[2] = {false, false};

		if (copy[i].pid != 0)
			tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}
