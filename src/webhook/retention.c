/*
 * webhook/retention.c
 *		Removes events that are older than smartlead.event_retention, a few at a time.
 *
 * The oldest are found by their ids, so that no index on the time is needed: a step looks at the
 * lowest ids only. Triggers on DELETE run as smartlead_admin, within the time limit of triggers.
 *
 * What can't be removed (a foreign key refers to it, a trigger fails, row security hides it) must
 * not keep the rest: when a step fails, the next ones take fewer rows, down to the one that is at
 * fault, which is passed over. smartlead_workers tells how many there are, and they are tried again
 * an hour later.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "pgstat.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "role/role.h"
#include "webhook/webhook.h"

#define STEP 500
#define TRY_AGAIN_US INT64CONST(3600000000)

/* How far the removal from a table has come. */
typedef struct Sweep
{
	const char *table;
	int64		passed; /* ids up to this one are done with */
	int64		last;	/* the highest one of the present step */
	int			rows;	/* of the next step */
	int64		held;	/* rows that were passed over */
	char		why[128];
} Sweep;

static Sweep sweeps[] = {{"smartlead_events"}, {"smartlead_failed_events"}};
static int64 started_at = 0; /* 0: at the next step */

void
sl_retention_start_over(void)
{
	started_at = 0;
}

static void
start_over(void)
{
	started_at = sl_now_us();
	for (int i = 0; i < lengthof(sweeps); i++)
	{
		sweeps[i].passed = PG_INT64_MIN;
		sweeps[i].rows = STEP;
		sweeps[i].held = 0;
		sweeps[i].why[0] = '\0';
	}
}

static void
pass_over(Sweep *sweep, int64 held, const char *why)
{
	sweep->held += held;
	if (held > 0)
		strlcpy(sweep->why, why, sizeof(sweep->why));
}

/*
 * The old ones among the next rows: their number. Where a step takes few rows, young ones may lie
 * before old ones, and are passed.
 */
static int64
look(Sweep *sweep, const char *name)
{
	bool  is_null;
	int64 count;
	Datum last;

	if (SPI_execute(
			psprintf("SELECT pg_catalog.count(*) FILTER (WHERE old), pg_catalog.max(id) FILTER"
					 " (WHERE old), pg_catalog.max(id) FROM (SELECT id, received_at"
					 " OPERATOR(pg_catalog.<) (pg_catalog.now() OPERATOR(pg_catalog.-)"
					 " pg_catalog.make_interval(mins => %d)) AS old FROM %s WHERE id"
					 " OPERATOR(pg_catalog.>) '" INT64_FORMAT "'::pg_catalog.int8"
					 " ORDER BY id USING OPERATOR(pg_catalog.<) LIMIT %d) AS next",
					 sl_event_retention, name, sweep->passed, sweep->rows),
			true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not look for old events");
	count = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &is_null));
	last = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, count > 0 ? 2 : 3, &is_null);
	if (!is_null && (count > 0 || sweep->rows < STEP))
		sweep->last = DatumGetInt64(last);
	return count;
}

/* Returns how many rows are gone. */
static int64
remove_rows(const Sweep *sweep, const char *name, Oid role)
{
	SlUserContext self;

	sl_become_user(role, &self);
	if (SPI_execute(psprintf("DELETE FROM %s WHERE id OPERATOR(pg_catalog.>) '" INT64_FORMAT
							 "'::pg_catalog.int8 AND id OPERATOR(pg_catalog.<=) '" INT64_FORMAT
							 "'::pg_catalog.int8 AND received_at OPERATOR(pg_catalog.<)"
							 " (pg_catalog.now() OPERATOR(pg_catalog.-)"
							 " pg_catalog.make_interval(mins => %d))",
							 name, sweep->passed, sweep->last, sl_event_retention),
					false, 0) != SPI_OK_DELETE)
		elog(ERROR, "could not remove old events");
	sl_become_oneself(&self);
	return (int64) SPI_processed;
}

/* One step, within a transaction. True: there may be more. */
static bool
step(Sweep *sweep)
{
	Oid	  relation = sl_extension_relation(sweep->table);
	Oid	  role = sl_working_role(sl_admin_role());
	char *name;
	int64 old;

	if (!OidIsValid(relation))
		return false;
	if (!OidIsValid(role))
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("role smartlead_admin must exist and not be a superuser")));
	name =
		quote_qualified_identifier(get_namespace_name(get_rel_namespace(relation)), sweep->table);
	sl_limit_start(NULL);
	old = look(sweep, name);
	if (old > 0)
		pass_over(sweep, old - remove_rows(sweep, name, role),
				  "row security hides them from smartlead_admin, or a trigger or rule keeps them");
	sl_limit_stop();
	return sweep->rows < STEP ? sweep->last > sweep->passed : old == sweep->rows;
}

static bool
run_step(Sweep *sweep)
{
	bool more;

	sweep->last = sweep->passed;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	SPI_connect();
	sl_forbid_deferred_triggers();
	more = step(sweep);
	SPI_finish();
	PopActiveSnapshot();
	CommitTransactionCommand();
	sweep->passed = sweep->last;
	sweep->rows = Min(sweep->rows * 2, STEP);
	return more;
}

/* After an error: fewer rows next time; a single one is passed over. False: it is none of the rows. */
static bool
give_way(Sweep *sweep)
{
	ErrorData *error = CopyErrorData();
	bool	   more = sweep->last > sweep->passed;

	if (more && sweep->rows > 1)
		sweep->rows /= 2;
	else
	{
		if (sweep->held == 0)
			EmitErrorReport();
		pass_over(sweep, 1, error->message ? error->message : "");
		sweep->passed = sweep->last;
	}
	FlushErrorState();
	FreeErrorData(error);
	return more;
}

static bool
try_step(Sweep *sweep)
{
	MemoryContext caller = CurrentMemoryContext;
	volatile bool more = false;

	PG_TRY();
	{
		more = run_step(sweep);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(caller);
		more = give_way(sweep);
		sl_limit_stop();
		AbortCurrentTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(caller);
	return more;
}

static void
tell_what_is_held(void)
{
	int64		held = 0;
	const char *why = "";
	char		text[192];

	for (int i = lengthof(sweeps) - 1; i >= 0; i--)
	{
		held += sweeps[i].held;
		if (sweeps[i].held > 0)
			why = sweeps[i].why;
	}
	snprintf(text, sizeof(text), "old events can't be removed (" INT64_FORMAT "): %s", held, why);
	sl_receiver_trouble(SL_TROUBLE_RETENTION, held == 0 ? NULL : text);
	if (held == 0)
		sl_retention_start_over();
}

bool
sl_retention_step(void)
{
	bool more = false;

	if (sl_event_retention == 0)
	{
		sl_receiver_trouble(SL_TROUBLE_RETENTION, NULL);
		return false;
	}
	if (started_at == 0 || sl_now_us() - started_at > TRY_AGAIN_US)
		start_over();
	pgstat_report_activity(STATE_RUNNING, "removing old events");
	for (int i = 0; i < lengthof(sweeps); i++)
		more = try_step(&sweeps[i]) || more;
	pgstat_report_activity(STATE_IDLE, NULL);
	if (!more)
		tell_what_is_held();
	return more;
}
