/*
 * webhook/retention.c
 *		Removes events that are older than smartlead.event_retention, a few at a time.
 *
 * The oldest are found by their ids, so that no index on the time is needed: a step looks at the
 * lowest ids only. Triggers on DELETE run as smartlead_admin, within the time limit of triggers; one
 * that fails stops the removal until the next minute.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "access/xact.h"
#include "executor/spi.h"
#include "pgstat.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "webhook/webhook.h"

#define STEP 500

static uint64
remove_from(const char *table, Oid role)
{
	SlUserContext self;
	Oid			  relation = sl_extension_relation(table);
	char		 *name;

	if (!OidIsValid(relation))
		return 0;
	name = quote_qualified_identifier(get_namespace_name(get_rel_namespace(relation)), table);
	sl_limit_start(NULL);
	sl_become_user(role, &self);
	if (SPI_execute(psprintf("DELETE FROM %s WHERE id IN (SELECT id FROM (SELECT id, received_at"
							 " FROM %s ORDER BY id LIMIT %d) AS oldest WHERE received_at <"
							 " pg_catalog.now() - pg_catalog.make_interval(mins => %d))",
							 name, name, STEP, sl_event_retention),
					false, 0) != SPI_OK_DELETE)
		elog(ERROR, "could not remove old events");
	sl_become_oneself(&self);
	sl_limit_stop();
	return SPI_processed;
}

static bool
step(void)
{
	bool more;
	Oid	 role;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	SPI_connect();
	sl_forbid_deferred_triggers();
	role = sl_working_role(sl_admin_role());
	if (!OidIsValid(role))
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("role smartlead_admin must exist and not be a superuser")));
	more = remove_from("smartlead_events", role) == STEP;
	more = remove_from("smartlead_failed_events", role) == STEP || more;
	SPI_finish();
	PopActiveSnapshot();
	CommitTransactionCommand();
	return more;
}

bool
sl_retention_step(void)
{
	MemoryContext caller = CurrentMemoryContext;
	volatile bool more = false;

	if (sl_event_retention == 0)
		return false;
	pgstat_report_activity(STATE_RUNNING, "removing old events");
	PG_TRY();
	{
		more = step();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(caller);
		EmitErrorReport();
		FlushErrorState();
		sl_limit_stop();
		AbortCurrentTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(caller);
	pgstat_report_activity(STATE_IDLE, NULL);
	return more;
}
