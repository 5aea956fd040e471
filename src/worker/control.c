/*
 * worker/control.c
 *		The setting and the SQL functions about workers.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include <signal.h>

#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/varlena.h"

#include "worker/launcher.h"
#include "worker/worker.h"

PG_FUNCTION_INFO_V1(smartlead_start_workers);
PG_FUNCTION_INFO_V1(smartlead_stop_workers);
PG_FUNCTION_INFO_V1(smartlead_worker_slots);

char *sl_databases;

static bool
check_databases(char **value, void **extra, GucSource source)
{
	char *copy = pstrdup(*value);
	List *names;

	if (!SplitGUCList(copy, ',', &names))
	{
		GUC_check_errdetail("List syntax is invalid.");
		return false;
	}
	list_free(names);
	pfree(copy);
	return true;
}

void
sl_worker_define_settings(void)
{
	DefineCustomStringVariable(
		"smartlead.databases", "Databases in which Smartlead's workers run.",
		"A list with commas. Needs smartlead in shared_preload_libraries; workers of a database "
		"wait until it exists and has the extension. Empty: none.",
		&sl_databases, "", PGC_SIGHUP, GUC_LIST_INPUT, check_databases, NULL, NULL);
}

/* A slot that hasn't been given up may be of a worker on its way out, so this is a good guess only. */
static bool
is_served(Oid database)
{
	SlWorkers *workers = sl_worker_shared();

	for (int i = 0; i < SL_MAX_WORKERS; i++)
	{
		SlWorkerSlot *slot = &workers->slots[i];

		if (slot->pid != 0 && slot->database == database)
			return true;
	}
	return false;
}

/*
 * smartlead_start_workers() → boolean: false if the workers run already
 */
Datum
smartlead_start_workers(PG_FUNCTION_ARGS)
{
	BackgroundWorker		launcher;
	BackgroundWorkerHandle *handle;
	pid_t					pid;

	if (is_served(MyDatabaseId))
		PG_RETURN_BOOL(false);
	sl_launcher_describe(&launcher, MyDatabaseId);
	launcher.bgw_notify_pid = MyProcPid;
	if (!RegisterDynamicBackgroundWorker(&launcher, &handle))
		ereport(ERROR, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
						errmsg("no background worker slot is free"),
						errhint("Increase \"max_worker_processes\" and restart the server.")));
	/* In an extension that this very transaction creates, the workers start when it commits. */
	sl_worker_wake_at_commit();
	if (WaitForBackgroundWorkerStartup(handle, &pid) != BGWH_STARTED)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("the launcher of Smartlead's workers did not start"),
						errhint("The server's log tells why.")));
	PG_RETURN_BOOL(true);
}

/*
 * smartlead_stop_workers() → boolean: false if nobody started them by hand
 */
Datum
smartlead_stop_workers(PG_FUNCTION_ARGS)
{
	SlWorkerSlot *launcher = sl_worker_find(MyDatabaseId, SL_LAUNCHER, 0);
	pid_t		  pid = launcher == NULL ? 0 : launcher->pid;

	if (pid == 0 && is_served(MyDatabaseId))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the workers of this database run because smartlead.databases lists it"),
				 errhint("Take the database off the list and reload the configuration.")));
	if (pid != 0)
		kill(pid, SIGTERM);
	PG_RETURN_BOOL(pid != 0);
}

static const char *
state_name(const SlWorkerSlot *slot)
{
	switch (slot->state)
	{
		case SL_WORKER_STARTING:
			return "starting";
		case SL_WORKER_RUNNING:
			return "running";
		case SL_WORKER_WAITING:
			return "waiting";
		case SL_WORKER_NO_EXTENSION:
			return "no extension";
		case SL_WORKER_STOPPED:
			break;
	}
	return "stopped";
}

static void
put_slot(ReturnSetInfo *result, int index, const SlWorkerSlot *slot)
{
	Datum values[10];
	bool  nulls[10] = {false};

	values[0] = Int32GetDatum(index);
	values[1] = CStringGetTextDatum(slot->kind == SL_LAUNCHER ? "launcher"
															  : sl_worker_kinds[slot->kind].name);
	values[2] = Int32GetDatum(slot->number);
	values[3] = Int32GetDatum(slot->pid);
	nulls[3] = slot->pid == 0;
	values[4] = CStringGetTextDatum(state_name(slot));
	values[5] = TimestampTzGetDatum(slot->started_at);
	values[6] = Int64GetDatum(slot->starts);
	values[7] = CStringGetTextDatum(slot->address);
	nulls[7] = slot->address[0] == '\0';
	values[8] = Int32GetDatum(slot->port);
	nulls[8] = slot->address[0] == '\0';
	values[9] = CStringGetTextDatum(slot->trouble);
	nulls[9] = slot->trouble[0] == '\0';
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/*
 * smartlead_worker_slots(): launchers and workers of the current database
 */
Datum
smartlead_worker_slots(PG_FUNCTION_ARGS)
{
	SlWorkers *workers = sl_worker_shared();

	sl_init_materialized_srf(fcinfo);
	for (int i = 0; i < SL_MAX_WORKERS; i++)
	{
		SlWorkerSlot slot;

		SpinLockAcquire(&workers->mutex);
		slot = workers->slots[i];
		SpinLockRelease(&workers->mutex);
		if (!slot.used)
			continue;
		if (slot.database == MyDatabaseId || !OidIsValid(slot.database))
			put_slot((ReturnSetInfo *) fcinfo->resultinfo, i, &slot);
	}
	return (Datum) 0;
}
