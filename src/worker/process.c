/*
 * worker/process.c
 *		How every worker begins and ends, and how it finds the extension.
 *
 * A worker is connected as the bootstrap superuser, because only that may become any user. It
 * never runs users' code as such: see role/role.c. It holds no lock and no snapshot while it waits.
 *
 * What may happen around it, and what it does then:
 * - The database has no extension: it ends, with its state saying so. The launcher looks again when
 *   it is told that an extension was created, and each minute.
 * - DROP EXTENSION: nothing is locked between transactions, so that goes on; the worker is woken,
 *   or wakes within the minute, and ends.
 * - DROP DATABASE: ends on SIGTERM, which WITH (FORCE) sends, and which the hook sends without it.
 * - Everything that waits for all backends (ProcSignalBarrier) sets the latch;
 *   CHECK_FOR_INTERRUPTS() after each wait answers it.
 * - An error ends the transaction and not the process, where the worker can go on. Where it can't,
 *   the process ends with exit code 1, and the launcher starts another one.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include <signal.h>

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/pg_extension.h"
#include "commands/extension.h"
#include "libpq/pqsignal.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "tcop/tcopprot.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "worker/worker.h"

static void
pin(const char *name, const char *value)
{
	SetConfigOption(name, value, PGC_SUSET, PGC_S_OVERRIDE);
}

/*
 * Settings that a worker can't leave to chance: a time limit meant for sessions, or another isolation
 * level. Not synchronous_commit, which may change: what must be on disk at once is forced to be.
 */
static void
pin_settings(void)
{
	pin("statement_timeout", "0");
	pin("lock_timeout", "0");
	pin("idle_in_transaction_session_timeout", "0");
	sl_pin_version_settings(pin);
	pin("default_transaction_isolation", "read committed");
	pin("session_replication_role", "origin");
	pin("search_path", "pg_catalog, pg_temp");
}

SlWorkerSlot *
sl_worker_begin(void)
{
	SlWorkerArguments given;
	SlWorkerSlot	 *slot;

	memcpy(&given, MyBgworkerEntry->bgw_extra, sizeof(given));
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(given.database, InvalidOid, 0);
	pin_settings();
	slot = sl_worker_claim(given.database, given.kind, given.number);
	if (slot == NULL)
	{
		ereport(LOG, (errmsg("%s ends: another one is in its place", MyBgworkerEntry->bgw_name)));
		proc_exit(0);
	}
	pgstat_report_appname(MyBgworkerEntry->bgw_name);
	return slot;
}

void
sl_worker_end_without_extension(SlWorkerSlot *slot)
{
	ereport(DEBUG1, (errmsg_internal("no extension smartlead in this database")));
	sl_worker_set_state(slot, SL_WORKER_NO_EXTENSION, NULL);
	proc_exit(0);
}

Oid
sl_extension_schema(void)
{
	Oid			extension = get_extension_oid(SL_EXTENSION, true);
	Oid			schema = InvalidOid;
	Relation	catalog;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	if (!OidIsValid(extension))
		return InvalidOid;
	catalog = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyInit(&key, Anum_pg_extension_oid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(extension));
	scan = systable_beginscan(catalog, ExtensionOidIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		schema = ((Form_pg_extension) GETSTRUCT(tuple))->extnamespace;
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	return schema;
}

Oid
sl_extension_relation(const char *name)
{
	Oid schema = sl_extension_schema();

	return OidIsValid(schema) ? get_relname_relid(name, schema) : InvalidOid;
}
