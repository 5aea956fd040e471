/*
 * worker/hook.c
 *		Tells launcher and workers when there is something new for them, without their asking.
 *
 * An object access hook, in every backend when the module is preloaded, sees the extension and
 * databases come and go. The workers are woken when the transaction has committed. One thing can't
 * wait for that: DROP DATABASE fails while a worker is connected to the database. It calls the hook
 * before it looks for connections, and then waits up to five seconds for them to end; so the workers
 * are asked to end right there. They can't come back in between: a connection to a database waits for
 * the lock that DROP DATABASE holds. If the DROP fails, the launcher starts them again.
 *
 * Without preload the hook is only in backends that have used the extension. The others' changes
 * are noticed by the look around that launcher and workers take each minute.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include <signal.h>

#include "access/xact.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_database.h"
#include "catalog/pg_extension.h"

#include "worker/worker.h"

static object_access_hook_type previous_hook = NULL;
static bool					   wake_at_commit = false;

static void
at_transaction_end(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_PREPARE:
			if (wake_at_commit)
				sl_worker_wake(MyDatabaseId);
			wake_at_commit = false;
			break;
		case XACT_EVENT_ABORT:
			wake_at_commit = false;
			break;
		default:
			break;
	}
}

void
sl_worker_wake_at_commit(void)
{
	static bool registered = false;

	if (!registered)
		RegisterXactCallback(at_transaction_end, NULL);
	registered = true;
	wake_at_commit = true;
}

/* Asks the workers that are connected to a database to end. */
static void
end_workers_of(Oid database)
{
	SlWorkers *workers = sl_worker_shared();
	pid_t	   pids[SL_MAX_WORKERS];
	int		   n_pids = 0;

	SpinLockAcquire(&workers->mutex);
	for (int i = 0; i < SL_MAX_WORKERS; i++)
	{
		SlWorkerSlot *slot = &workers->slots[i];

		if (slot->pid != 0 && slot->kind != SL_LAUNCHER && slot->database == database)
			pids[n_pids++] = slot->pid;
	}
	SpinLockRelease(&workers->mutex);
	for (int i = 0; i < n_pids; i++)
		kill(pids[i], SIGTERM);
}

static void
notice_object(ObjectAccessType access, Oid class, Oid object, int sub_object, void *arg)
{
	if (previous_hook)
		previous_hook(access, class, object, sub_object, arg);
	if (access != OAT_POST_CREATE && access != OAT_DROP)
		return;
	if (class != ExtensionRelationId && class != DatabaseRelationId)
		return;
	if (class == DatabaseRelationId && access == OAT_DROP)
		end_workers_of(object);
	sl_worker_wake_at_commit();
}

void
sl_worker_install_hook(void)
{
	previous_hook = object_access_hook;
	object_access_hook = notice_object;
}
