/*
 * worker/launcher.c
 *		Starts the workers of each database that it serves, and starts them again when they end.
 *
 * One launcher, registered at the server's start, serves the databases in smartlead.databases.
 * smartlead_start_workers() registers another one, for the current database, where that isn't
 * listed or where the module isn't preloaded.
 *
 * A launcher is connected to no database, so it stands in nobody's way. It reads which of its
 * databases exist each time it is woken (a worker ended, settings changed, the hook saw a database
 * or an extension come or go), and once a minute for what nobody told. It owns the restarts: at
 * once after a worker that has lived for a minute, else after a pause that doubles up to a minute.
 * Workers of a database without the extension are looked after again when told, or each minute.
 *
 * It starts on a primary only: on a standby with its promotion.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include <signal.h>

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "libpq/pqsignal.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "tcop/tcopprot.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/varlena.h"

#include "worker/launcher.h"
#include "worker/worker.h"

#define LOOK_AROUND_MS 60000
#define HEALTHY_MS 60000
#define FIRST_PAUSE_MS 1000
#define LONGEST_PAUSE_MS 60000

/* A worker that ought to run. */
typedef struct Child
{
	SlWorkerArguments		who;
	bool					wanted;
	BackgroundWorkerHandle *handle; /* NULL: doesn't run */
	TimestampTz				started_at;
	uint64					wakes; /* sl_worker_wakes() at that time */
	TimestampTz				start_after;
	int						pause_ms; /* before the next start, if that comes soon */
} Child;

static Child children[SL_MAX_WORKERS];
static int	 n_children = 0;
static Oid	 only_database; /* InvalidOid: those of smartlead.databases */

static Child *
find_child(Oid database, int kind, int number)
{
	for (int i = 0; i < n_children; i++)
	{
		Child *child = &children[i];

		if (child->who.database == database && child->who.kind == kind &&
			child->who.number == number)
			return child;
	}
	return NULL;
}

static void
want_child(Oid database, int kind, int number)
{
	Child *child = find_child(database, kind, number);

	if (child == NULL)
	{
		if (n_children == SL_MAX_WORKERS)
		{
			ereport(WARNING, (errmsg("smartlead can run no more than %d workers", SL_MAX_WORKERS)));
			return;
		}
		child = &children[n_children++];
		memset(child, 0, sizeof(Child));
		child->who = (SlWorkerArguments){database, kind, number};
	}
	child->wanted = true;
}

static void
want_workers_of(Oid database)
{
	for (int kind = 0; kind < sl_n_worker_kinds; kind++)
	{
		int count = sl_worker_kinds[kind].count ? *sl_worker_kinds[kind].count : 1;

		for (int number = 0; number < count; number++)
			want_child(database, kind, number);
	}
}

/* Is this one of the databases that we serve? */
static bool
serves(const FormData_pg_database *database, const List *names)
{
	const ListCell *cell;

	if (OidIsValid(only_database))
		return database->oid == only_database;
	foreach (cell, names)
		if (strcmp(NameStr(database->datname), lfirst(cell)) == 0)
			return true;
	return false;
}

/*
 * Marks the workers that the settings and the databases that exist ask for. Without a database of
 * its own, a process may read pg_database by a plain scan only.
 */
static void
look_around(void)
{
	List		 *names = NIL;
	Relation	  catalog;
	TableScanDesc scan;
	HeapTuple	  tuple;

	for (int i = 0; i < n_children; i++)
		children[i].wanted = false;
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	if (!SplitGUCList(pstrdup(sl_databases), ',', &names))
		names = NIL;
	catalog = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(catalog, 0, NULL);
	while (HeapTupleIsValid(tuple = heap_getnext(scan, ForwardScanDirection)))
	{
		Form_pg_database database = (Form_pg_database) GETSTRUCT(tuple);

		if (database->datallowconn && serves(database, names))
			want_workers_of(database->oid);
	}
	table_endscan(scan);
	table_close(catalog, AccessShareLock);
	CommitTransactionCommand();
}

static void
start_child(Child *child, TimestampTz now)
{
	const SlWorkerKind *kind = &sl_worker_kinds[child->who.kind];
	BackgroundWorker	worker = {0};

	snprintf(worker.bgw_name, BGW_MAXLEN, "smartlead %s %d of database %u", kind->name,
			 child->who.number, child->who.database);
	snprintf(worker.bgw_type, BGW_MAXLEN, "smartlead %s", kind->name);
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	worker.bgw_notify_pid = MyProcPid;
	strlcpy(worker.bgw_library_name, "smartlead", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, kind->function, BGW_MAXLEN);
	memcpy(worker.bgw_extra, &child->who, sizeof(child->who));
	child->started_at = now;
	child->wakes = sl_worker_wakes();
	if (RegisterDynamicBackgroundWorker(&worker, &child->handle))
		return;
	child->handle = NULL;
	child->start_after = TimestampTzPlusMilliseconds(now, LONGEST_PAUSE_MS);
	ereport(WARNING, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
					  errmsg("no background worker slot is free for the smartlead %s", kind->name),
					  errhint("Consider increasing \"max_worker_processes\".")));
}

static bool
lacks_extension(const SlWorkerArguments *who)
{
	SlWorkers *workers = sl_worker_shared();

	for (int i = 0; i < SL_MAX_WORKERS; i++)
	{
		SlWorkerSlot *slot = &workers->slots[i];

		if (slot->used && slot->database == who->database && slot->kind == who->kind &&
			slot->number == who->number)
			return slot->state == SL_WORKER_NO_EXTENSION;
	}
	return false;
}

/* The worker is gone: when may it be started again? */
static void
bury_child(Child *child, TimestampTz now)
{
	pfree(child->handle);
	child->handle = NULL;
	if (lacks_extension(&child->who))
	{
		child->pause_ms = 0;
		/* It may have looked just before the extension was created, which it was told too late. */
		child->start_after =
			child->wakes != sl_worker_wakes() ||
					TimestampDifferenceExceeds(child->started_at, now, FIRST_PAUSE_MS)
				? now
				: TimestampTzPlusMilliseconds(now, LOOK_AROUND_MS);
		return;
	}
	if (TimestampDifferenceExceeds(child->started_at, now, HEALTHY_MS))
		child->pause_ms = 0;
	child->start_after = TimestampTzPlusMilliseconds(now, child->pause_ms);
	child->pause_ms = child->pause_ms == 0 ? FIRST_PAUSE_MS : child->pause_ms * 2;
	child->pause_ms = Min(child->pause_ms, LONGEST_PAUSE_MS);
}

/* Starts and stops what is due. Returns the milliseconds after which to look again. */
static long
tend_children(bool told)
{
	TimestampTz now = GetCurrentTimestamp();
	long		wait_ms = LOOK_AROUND_MS;

	for (int i = 0; i < n_children; i++)
	{
		Child *child = &children[i];
		pid_t  pid;

		if (child->handle != NULL && GetBackgroundWorkerPid(child->handle, &pid) == BGWH_STOPPED)
			bury_child(child, now);
		else if (child->handle == NULL && told && lacks_extension(&child->who))
			child->start_after = now;
		if (child->handle == NULL && child->wanted)
		{
			if (child->start_after <= now)
				start_child(child, now);
			else
				wait_ms = Min(wait_ms, TimestampDifferenceMilliseconds(now, child->start_after));
		}
		else if (child->handle != NULL && !child->wanted)
			TerminateBackgroundWorker(child->handle);
		else if (child->handle == NULL)
			children[i--] = children[--n_children];
	}
	return Max(wait_ms, 10);
}

/* With the launcher, its workers end: another launcher would not know them. */
static void
stop_children(int code, Datum arg)
{
	for (int i = 0; i < n_children; i++)
		if (children[i].handle != NULL)
			TerminateBackgroundWorker(children[i].handle);
}

/*
 * A launcher by hand has nothing left to serve when its database is gone, or the extension, without
 * which nobody could have called for it. The transaction in which that happened may have created
 * the extension as well and may still be open, so the launcher is patient at its beginning.
 */
static bool
has_nothing_to_serve(void)
{
	if (!OidIsValid(only_database) ||
		!TimestampDifferenceExceeds(MyStartTimestamp, GetCurrentTimestamp(), LOOK_AROUND_MS))
		return false;
	for (int i = 0; i < n_children; i++)
		if (children[i].handle != NULL || !lacks_extension(&children[i].who))
			return false;
	return true;
}

static void
begin(Datum argument)
{
	only_database = DatumGetObjectId(argument);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	pqsignal(SIGINT, SIG_IGN); /* there is nothing to cancel, and an error would end all workers */
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	pgstat_report_appname("smartlead launcher");
	/* A launcher that has just ended may still hold the slot: its successor comes a little later. */
	if (sl_worker_claim(only_database, SL_LAUNCHER, 0) == NULL)
		proc_exit(OidIsValid(only_database) ? 0 : 1);
	before_shmem_exit(stop_children, (Datum) 0);
	sl_worker_set_state(sl_worker_find(only_database, SL_LAUNCHER, 0), SL_WORKER_RUNNING, NULL);
}

void
sl_launcher_main(Datum argument)
{
	bool told = true;

	begin(argument);
	for (;;)
	{
		long wait_ms;
		int	 events;

		look_around();
		wait_ms = tend_children(told);
		if (has_nothing_to_serve())
			proc_exit(0);
		events = WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, wait_ms,
						   sl_wait_event("SmartleadLauncher"));
		told = (events & WL_LATCH_SET) != 0;
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
		/* One that was started by hand is ended by hand; the other one comes back. */
		if (ShutdownRequestPending)
			proc_exit(OidIsValid(only_database) ? 0 : 1);
	}
}

void
sl_launcher_describe(BackgroundWorker *worker, Oid database)
{
	memset(worker, 0, sizeof(BackgroundWorker));
	strlcpy(worker->bgw_name, "smartlead launcher", BGW_MAXLEN);
	strlcpy(worker->bgw_type, "smartlead launcher", BGW_MAXLEN);
	worker->bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker->bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker->bgw_restart_time = 1;
	worker->bgw_main_arg = ObjectIdGetDatum(database);
	strlcpy(worker->bgw_library_name, "smartlead", sizeof(worker->bgw_library_name));
	strlcpy(worker->bgw_function_name, "sl_launcher_main", BGW_MAXLEN);
}

void
sl_worker_register(void)
{
	BackgroundWorker launcher;

	if (IsBinaryUpgrade)
		return;
	sl_launcher_describe(&launcher, InvalidOid);
	RegisterBackgroundWorker(&launcher);
}
