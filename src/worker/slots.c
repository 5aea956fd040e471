/*
 * worker/slots.c
 *		The places of launchers and workers in shared memory.
 *
 * The table is small enough for the spare room that every server has in its shared memory, so it
 * also works when the module isn't preloaded: whoever needs it first makes it.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"

#include "worker/worker.h"

static SlWorkers	*workers = NULL;
static SlWorkerSlot *my_slot = NULL;

Size
sl_worker_shmem_size(void)
{
	return MAXALIGN(sizeof(SlWorkers));
}

void
sl_worker_shmem_startup(void)
{
	bool found;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	workers = ShmemInitStruct("smartlead workers", sl_worker_shmem_size(), &found);
	if (!found)
	{
		memset(workers, 0, sizeof(SlWorkers));
		SpinLockInit(&workers->mutex);
	}
	LWLockRelease(AddinShmemInitLock);
}

SlWorkers *
sl_worker_shared(void)
{
	if (workers == NULL)
		sl_worker_shmem_startup();
	return workers;
}

int
sl_worker_slot_index(const SlWorkerSlot *slot)
{
	return slot - workers->slots;
}

/* Leaves the slot to the next worker of the same place. */
static void
release_slot(int code, Datum arg)
{
	SpinLockAcquire(&workers->mutex);
	my_slot->pid = 0;
	my_slot->latch = NULL;
	my_slot->address[0] = '\0';
	my_slot->trouble[0] = '\0';
	if (my_slot->state != SL_WORKER_NO_EXTENSION)
		my_slot->state = SL_WORKER_STOPPED;
	SpinLockRelease(&workers->mutex);
}

static bool
slot_is(const SlWorkerSlot *slot, Oid database, int kind, int number)
{
	return slot->used && slot->database == database && slot->kind == kind && slot->number == number;
}

/*
 * The slot of that place; a new one if there is none. With all taken, the one of some worker that
 * has ended gives way. NULL: all of them are alive. The caller holds the mutex.
 */
static SlWorkerSlot *
find_or_make_slot(Oid database, int kind, int number)
{
	SlWorkerSlot *free_slot = NULL;

	for (int i = 0; i < SL_MAX_WORKERS; i++)
	{
		SlWorkerSlot *slot = &workers->slots[i];

		if (slot_is(slot, database, kind, number))
			return slot;
		if (!slot->used)
		{
			if (free_slot == NULL || free_slot->used)
				free_slot = slot;
		}
		else if (slot->pid == 0 && free_slot == NULL)
			free_slot = slot;
	}
	if (free_slot != NULL)
	{
		memset(free_slot, 0, sizeof(SlWorkerSlot));
		free_slot->used = true;
		free_slot->database = database;
		free_slot->kind = kind;
		free_slot->number = number;
	}
	return free_slot;
}

SlWorkerSlot *
sl_worker_claim(Oid database, int kind, int number)
{
	TimestampTz	  now = GetCurrentTimestamp();
	SlWorkerSlot *slot;

	sl_worker_shared();
	SpinLockAcquire(&workers->mutex);
	slot = find_or_make_slot(database, kind, number);
	if (slot != NULL && slot->pid != 0)
		slot = NULL;
	if (slot != NULL)
	{
		slot->pid = MyProcPid;
		slot->latch = MyLatch;
		slot->state = SL_WORKER_STARTING;
		slot->started_at = now;
		slot->starts++;
		slot->trouble[0] = '\0';
	}
	SpinLockRelease(&workers->mutex);
	if (slot != NULL)
	{
		my_slot = slot;
		before_shmem_exit(release_slot, (Datum) 0);
	}
	return slot;
}

void
sl_worker_set_state(SlWorkerSlot *slot, SlWorkerState state, const char *trouble)
{
	SpinLockAcquire(&workers->mutex);
	slot->state = state;
	strlcpy(slot->trouble, trouble == NULL ? "" : trouble, sizeof(slot->trouble));
	SpinLockRelease(&workers->mutex);
}

void
sl_worker_is_stuck(const char *trouble)
{
	if (my_slot != NULL)
		strlcpy(my_slot->trouble, trouble, sizeof(my_slot->trouble));
}

SlWorkerSlot *
sl_worker_find(Oid database, int kind, int number)
{
	SlWorkerSlot *found = NULL;

	sl_worker_shared();
	SpinLockAcquire(&workers->mutex);
	for (int i = 0; i < SL_MAX_WORKERS && found == NULL; i++)
		if (slot_is(&workers->slots[i], database, kind, number) && workers->slots[i].pid != 0)
			found = &workers->slots[i];
	SpinLockRelease(&workers->mutex);
	return found;
}

uint64
sl_worker_wakes(void)
{
	SlWorkers *shared = sl_worker_shared();
	uint64	   wakes;

	SpinLockAcquire(&shared->mutex);
	wakes = shared->wakes;
	SpinLockRelease(&shared->mutex);
	return wakes;
}

void
sl_worker_wake(Oid database)
{
	Latch *latches[SL_MAX_WORKERS];
	int	   n_latches = 0;

	if (workers == NULL)
		return;
	SpinLockAcquire(&workers->mutex);
	workers->wakes++;
	for (int i = 0; i < SL_MAX_WORKERS; i++)
	{
		SlWorkerSlot *slot = &workers->slots[i];

		if (slot->pid == 0 || slot->latch == NULL)
			continue;
		if (slot->kind == SL_LAUNCHER || (OidIsValid(database) && slot->database == database))
			latches[n_latches++] = slot->latch;
	}
	SpinLockRelease(&workers->mutex);
	/* A latch is a part of shared memory that outlives its process, so one too many does no harm. */
	for (int i = 0; i < n_latches; i++)
		SetLatch(latches[i]);
}
