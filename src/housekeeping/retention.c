/*
 * housekeeping/retention.c
 *		Removes rows that are older than settings say, a few at a time.
 *
 * What is removed is told by the table of removals. The oldest rows are found by a column that has an
 * index and grows with time, such as an id: a step looks at the lowest ones only. In tables that users
 * put triggers on, triggers on DELETE run as smartlead_admin, within the time limit of triggers.
 *
 * What can't be removed (a foreign key refers to it, a trigger fails, row security hides it) must
 * not keep the rest: when a step fails, the next ones take fewer rows, down to the one that is at
 * fault, which is passed over. So is one whose trigger could only be stopped with the whole process:
 * that leaves word to its successor, which goes on from there, row by row. smartlead_workers tells how
 * many there are, and they are tried again an hour later. What is none of the rows' fault, such as a
 * lock on the table, stops the removal from that table until the next look around.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "pgstat.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "housekeeping/housekeeping.h"
#include "http/clock.h"
#include "role/role.h"
#include "webhook/webhook.h"

#define TRY_AGAIN_MS 3600000

/* What is removed, and when. */
typedef struct Removal
{
	const char *table;
	const char *order;	/* the column by which the oldest are found */
	Oid			type;	/* of that: one that is kept in 64 bits */
	const char *time;	/* the column that tells a row's age */
	const int  *limit;	/* the setting: how old it may become, in minutes; 0: as old as it likes */
	int			step;	/* rows at a time */
	bool		shared; /* with users' triggers: removed as smartlead_admin, else as its owner */
} Removal;

static const Removal removals[] = {
	{"smartlead_events", "id", INT8OID, "received_at", &sl_event_retention, 500, true},
	{"smartlead_failed_events", "id", INT8OID, "received_at", &sl_event_retention, 500, true},
	{"smartlead_event_keys", "received_at", TIMESTAMPTZOID, "received_at", &sl_event_key_retention,
	 2000, false},
};

/* How far one of them has come. Positions are values of the column that gives the order. */
typedef struct Sweep
{
	SlInstant started_at;	/* 0: it is to start over */
	int64	  passed;		/* rows up to this one are done with */
	int64	  last;			/* the highest one of the present step */
	int64	  dangerous_to; /* up to this one, one row a step */
	int		  rows;			/* of the next step */
	int64	  held;			/* rows that were passed over */
	char	  why[128];
	char	  obstacle[128]; /* by which it is stopped until the next look around; or empty */
} Sweep;

static Sweep		 sweeps[lengthof(removals)];
static int			 present = 0; /* the one whose step is under way */
static SlWorkerSlot *my_slot = NULL;

static void
start_over(int which)
{
	memset(&sweeps[which], 0, sizeof(Sweep));
	sweeps[which].started_at = sl_clock_now();
	sweeps[which].passed = sweeps[which].dangerous_to = PG_INT64_MIN;
	sweeps[which].rows = removals[which].step;
}

void
sl_retention_start_over(void)
{
	for (int i = 0; i < lengthof(removals); i++)
		sweeps[i].started_at = 0;
}

static void
pass_over(Sweep *sweep, int64 held, const char *why)
{
	if (held <= 0)
		return;
	sweep->held += held;
	strlcpy(sweep->why, why, sizeof(sweep->why));
}

/* ---- a process that could only be ended ---- */

/* Runs in a signal handler. */
static void
leave_word(void)
{
	my_slot->left[1] = sweeps[present].passed;
	my_slot->left[2] = sweeps[present].last;
	my_slot->left[3] = sweeps[present].rows;
	my_slot->left[0] = present + 1;
}

void
sl_retention_begin(SlWorkerSlot *slot)
{
	int which = (int) slot->left[0] - 1;

	my_slot = slot;
	if (which < 0)
		return;
	slot->left[0] = 0;
	start_over(which);
	sweeps[which].passed = slot->left[1];
	sweeps[which].dangerous_to = slot->left[2];
	sweeps[which].rows = 1;
	if (slot->left[3] > 1)
		return;
	sweeps[which].passed = slot->left[2];
	pass_over(&sweeps[which], 1, "a trigger goes on beyond smartlead.trigger_timeout");
}

/* ---- one step ---- */

/*
 * The old ones among the next rows: their number. Where a step takes few rows, young ones may lie
 * before old ones, and are passed. As the table's owner, from whom row security hides nothing, and
 * whose code alone an index may run.
 */
static int64
look(const Removal *removal, Sweep *sweep, Oid relation, const char *name)
{
	Oid			  type = removal->type;
	Datum		  passed = Int64GetDatum(sweep->passed);
	SlUserContext self;
	bool		  is_null;
	int64		  count;
	Datum		  last;

	sl_become_owner(relation, &self);
	if (SPI_execute_with_args(
			psprintf("SELECT pg_catalog.count(*) FILTER (WHERE old), pg_catalog.max(place) FILTER"
					 " (WHERE old), pg_catalog.max(place) FROM (SELECT %1$s AS place, %2$s"
					 " OPERATOR(pg_catalog.<) (pg_catalog.now() OPERATOR(pg_catalog.-)"
					 " pg_catalog.make_interval(mins => %3$d)) AS old FROM %4$s WHERE %1$s"
					 " OPERATOR(pg_catalog.>) $1"
					 " ORDER BY %1$s USING OPERATOR(pg_catalog.<) LIMIT %5$d) AS next",
					 removal->order, removal->time, *removal->limit, name, sweep->rows),
			1, &type, &passed, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not look for old rows");
	sl_become_oneself(&self);
	count = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &is_null));
	last = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, count > 0 ? 2 : 3, &is_null);
	if (!is_null && (count > 0 || sweep->rows < removal->step))
		sweep->last = DatumGetInt64(last);
	return count;
}

/* Returns how many rows are gone. */
static int64
remove_rows(const Removal *removal, const Sweep *sweep, Oid role, const char *name)
{
	Oid			  types[] = {removal->type, removal->type};
	Datum		  bounds[] = {Int64GetDatum(sweep->passed), Int64GetDatum(sweep->last)};
	SlUserContext self;

	sl_become_user(role, &self);
	if (SPI_execute_with_args(
			psprintf("DELETE FROM %4$s WHERE %1$s OPERATOR(pg_catalog.>) $1 AND %1$s"
					 " OPERATOR(pg_catalog.<=) $2 AND %2$s OPERATOR(pg_catalog.<)"
					 " (pg_catalog.now() OPERATOR(pg_catalog.-)"
					 " pg_catalog.make_interval(mins => %3$d))",
					 removal->order, removal->time, *removal->limit, name),
			2, types, bounds, NULL, false, 0) != SPI_OK_DELETE)
		elog(ERROR, "could not remove old rows");
	sl_become_oneself(&self);
	return (int64) SPI_processed;
}

/* Whose rights the removal has. A table of somebody less than smartlead_admin is a trap. */
static Oid
removing_role(const Removal *removal, Oid relation)
{
	Oid owner = sl_owner_of(relation);
	Oid role;

	if (!removal->shared)
		return owner;
	role = sl_working_role(sl_admin_role());
	if (!OidIsValid(role))
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("role smartlead_admin must exist and not be a superuser")));
	if (!has_privs_of_role(owner, role))
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("its owner lacks the privileges of smartlead_admin")));
	return role;
}

/* The table, locked, so that it stays what it is; or InvalidOid. */
static Oid
lock_table(const Removal *removal)
{
	Oid relation = sl_extension_relation(removal->table);

	if (!OidIsValid(relation))
		return InvalidOid;
	if (!ConditionalLockRelationOid(relation, RowExclusiveLock))
		ereport(ERROR, (errcode(ERRCODE_LOCK_NOT_AVAILABLE), errmsg("it is locked")));
	return sl_extension_relation(removal->table) == relation ? relation : InvalidOid;
}

/* What would fail with each of the rows must not be tried with each. */
static void
check_table(const Removal *removal, Oid relation, Oid role)
{
	const AclMode needed = ACL_SELECT | ACL_DELETE;

	if (get_rel_relkind(relation) == RELKIND_PARTITIONED_TABLE)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("it is partitioned; drop old partitions, for instance with pg_partman")));
	if (pg_class_aclmask(relation, role, needed, ACLMASK_ALL) != needed)
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_TABLE, removal->table);
}

/* Within a transaction. True: there may be more. */
static bool
step(const Removal *removal, Sweep *sweep)
{
	Oid	  relation = lock_table(removal);
	Oid	  role;
	char *name;
	int64 old;

	if (!OidIsValid(relation))
		return false;
	role = removing_role(removal, relation);
	check_table(removal, relation, role);
	name =
		quote_qualified_identifier(get_namespace_name(get_rel_namespace(relation)), removal->table);
	sl_deadline_start(sl_trigger_timeout, leave_word);
	old = look(removal, sweep, relation, name);
	if (old > 0)
		pass_over(sweep, old - remove_rows(removal, sweep, role, name),
				  "row security hides them from smartlead_admin, or a trigger or rule keeps them");
	sl_deadline_stop();
	return sweep->rows < removal->step ? sweep->last > sweep->passed : old == sweep->rows;
}

static bool
run_step(const Removal *removal, Sweep *sweep)
{
	bool more;

	sweep->last = sweep->passed;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	SPI_connect();
	sl_forbid_deferred_triggers();
	more = step(removal, sweep);
	SPI_finish();
	PopActiveSnapshot();
	CommitTransactionCommand();
	sweep->passed = sweep->last;
	sweep->rows = sweep->passed < sweep->dangerous_to ? 1 : Min(sweep->rows * 2, removal->step);
	return more;
}

/* After an error: fewer rows next time; a single one is passed over. False: it is none of the rows. */
static bool
give_way(Sweep *sweep)
{
	ErrorData  *error = CopyErrorData();
	const char *why = error->message ? error->message : "unknown error";
	bool		more = sweep->last > sweep->passed;

	if (!more)
		strlcpy(sweep->obstacle, why, sizeof(sweep->obstacle));
	else if (sweep->rows > 1)
		sweep->rows /= 2;
	else
	{
		if (sweep->held == 0)
			EmitErrorReport();
		pass_over(sweep, 1, why);
		sweep->passed = sweep->last;
	}
	FlushErrorState();
	FreeErrorData(error);
	return more;
}

static bool
try_step(const Removal *removal, Sweep *sweep)
{
	MemoryContext caller = CurrentMemoryContext;
	volatile bool more = false;

	PG_TRY();
	{
		more = run_step(removal, sweep);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(caller);
		more = give_way(sweep);
		sl_deadline_stop();
		AbortCurrentTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(caller);
	return more;
}

/* ---- all of them ---- */

const char *
sl_retention_trouble(void)
{
	static char text[sizeof(my_slot->trouble)];

	for (int i = 0; i < lengthof(removals); i++)
	{
		if (*removals[i].limit == 0)
			continue;
		if (sweeps[i].obstacle[0] != '\0')
			snprintf(text, sizeof(text), "old rows of %s can't be removed: %s", removals[i].table,
					 sweeps[i].obstacle);
		else if (sweeps[i].held > 0)
			snprintf(text, sizeof(text), "old rows of %s can't be removed (" INT64_FORMAT "): %s",
					 removals[i].table, sweeps[i].held, sweeps[i].why);
		else
			continue;
		return text;
	}
	return NULL;
}

/* True: there may be more. */
static bool
go_on(int which)
{
	Sweep *sweep = &sweeps[which];

	if (*removals[which].limit == 0 || sweep->obstacle[0] != '\0')
		return false;
	if (sweep->started_at == 0 || sl_clock_now() > sl_clock_after(sweep->started_at, TRY_AGAIN_MS))
		start_over(which);
	present = which;
	return try_step(&removals[which], sweep);
}

bool
sl_retention_step(void)
{
	static bool goes_on = false;
	bool		more = false;

	for (int i = 0; i < lengthof(removals) && !goes_on; i++)
		sweeps[i].obstacle[0] = '\0';
	pgstat_report_activity(STATE_RUNNING, "removing what is old");
	for (int i = 0; i < lengthof(removals); i++)
		more = go_on(i) || more;
	pgstat_report_activity(STATE_IDLE, NULL);
	for (int i = 0; i < lengthof(removals) && !more; i++)
		if (sweeps[i].held == 0)
			sweeps[i].started_at = 0;
	goes_on = more;
	return more;
}
