/*
 * queue/lane_rows.c
 *		Which lanes there are, in the rows of jobs and of pauses; pausing, resuming and ending them.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "queue/queue.h"
#include "queue/statement.h"
#include "queue/store.h"
#include "queue/trouble.h"
#include "worker/worker.h"

#define ORPHANS_BATCH 1000

/* The lanes and their turns, found one after the other by the index, however many jobs each has. */
static SlStatement lanes = {
	"WITH RECURSIVE turn AS ("
	"(SELECT connection, run_as, priority, attempts = 0 AS is_new FROM %1$s.smartlead_queue "
	"WHERE state = 'ready' ORDER BY connection, run_as, priority, (attempts = 0) LIMIT 1) "
	"UNION ALL "
	"SELECT n.connection, n.run_as, n.priority, n.is_new FROM turn t, LATERAL ("
	"SELECT q.connection, q.run_as, q.priority, q.attempts = 0 AS is_new "
	"FROM %1$s.smartlead_queue q WHERE q.state = 'ready' AND (q.connection, q.run_as, q.priority, "
	"(q.attempts = 0)) > (t.connection, t.run_as, t.priority, t.is_new) "
	"ORDER BY q.connection, q.run_as, q.priority, (q.attempts = 0) LIMIT 1) n) "
	"SELECT t.connection, t.run_as::pg_catalog.oid, t.priority, t.is_new, p.version, p.sqlstate, "
	"(SELECT q.due_at FROM %1$s.smartlead_queue q WHERE q.state = 'ready' "
	"AND q.connection = t.connection AND q.run_as = t.run_as AND q.priority = t.priority "
	"AND (q.attempts = 0) = t.is_new ORDER BY q.due_at LIMIT 1), "
	"(SELECT q.due_at FROM %1$s.smartlead_queue q WHERE q.state = 'ready' "
	"AND q.connection = t.connection AND q.run_as = t.run_as AND q.priority = t.priority "
	"AND (q.attempts = 0) = t.is_new AND q.due_at > $1 ORDER BY q.due_at LIMIT 1) "
	"FROM turn t LEFT JOIN %1$s.smartlead_queue_paused p "
	"ON p.connection = t.connection AND p.run_as = t.run_as",
	1,
	{TIMESTAMPTZOID}};

static SlStatement pause_lane = {
	"INSERT INTO %1$s.smartlead_queue_paused (connection, run_as, reason, sqlstate, "
	"version) SELECT $1, $2, $3, $4, $5 WHERE NOT EXISTS (SELECT FROM %1$s.smartlead_queue_paused "
	"WHERE connection = $1 AND run_as = $2)",
	5,
	{NAMEOID, OIDOID, TEXTOID, TEXTOID, TEXTOID}};

static SlStatement resume_lane = {
	"DELETE FROM %1$s.smartlead_queue_paused WHERE ctid = ANY (ARRAY (SELECT ctid "
	"FROM %1$s.smartlead_queue_paused WHERE connection = $1 AND run_as = $2 "
	"FOR UPDATE SKIP LOCKED))",
	2,
	{NAMEOID, OIDOID}};

static SlStatement fail_orphans = {
	"UPDATE %1$s.smartlead_queue SET state = 'failed', last_error = $3, sqlstate = $4, "
	"finished_at = pg_catalog.clock_timestamp() WHERE id = ANY (ARRAY (SELECT id "
	"FROM %1$s.smartlead_queue WHERE state = 'ready' AND home = %2$s AND connection = $1 "
	"AND run_as = $2 AND due_at <= $5 LIMIT $6 FOR UPDATE SKIP LOCKED))",
	6,
	{NAMEOID, OIDOID, TEXTOID, TEXTOID, TIMESTAMPTZOID, INT8OID}};

static void
forget_what_was_known(void)
{
	for (int i = 0; i < sl_lanes_count(); i++)
	{
		sl_lanes_nth(i)->is_known = false;
		sl_lanes_nth(i)->has_priorities = false;
		sl_lanes_nth(i)->next_due = DT_NOEND;
	}
}

static void
read_pause(SlLane *lane, int row)
{
	bool  is_null;
	Datum version = sl_statement_column(row, 5, &is_null);
	char *state;

	if (is_null && lane->is_unwritten)
		return;
	if (is_null)
	{
		sl_lane_unpause(lane);
		return;
	}
	lane->is_unwritten = false;
	state = TextDatumGetCString(sl_statement_column(row, 6, &is_null));
	sl_lane_pause(lane, TextDatumGetCString(version),
				  MAKE_SQLSTATE(state[0], state[1], state[2], state[3], state[4]));
}

/* A row of the statement "lanes": a turn that has ready jobs. */
static void
read_turn(int row, TimestampTz now)
{
	bool	is_null;
	Datum	connection = sl_statement_column(row, 1, &is_null);
	SlLane *lane = sl_lane_get(NameStr(*DatumGetName(connection)),
							   DatumGetObjectId(sl_statement_column(row, 2, &is_null)));
	int		priority = DatumGetInt16(sl_statement_column(row, 3, &is_null));
	bool	is_new = DatumGetBool(sl_statement_column(row, 4, &is_null));
	Datum	datum;

	/* Rows come in the order of the priorities. */
	if (!lane->is_known)
	{
		read_pause(lane, row);
		lane->first_priority = priority;
	}
	lane->is_known = true;
	if (priority != lane->first_priority)
		lane->has_priorities = true;
	datum = sl_statement_column(row, 7, &is_null);
	if (!is_null && DatumGetTimestampTz(datum) <= now)
		lane->turns[SL_TURN(priority, is_new)].is_dirty = true;
	datum = sl_statement_column(row, 8, &is_null);
	if (!is_null)
		lane->next_due = Min(lane->next_due, DatumGetTimestampTz(datum));
}

void
sl_store_read_lanes(TimestampTz now)
{
	Datum values[] = {TimestampTzGetDatum(now)};

	forget_what_was_known();
	sl_statement_execute(&lanes, values, NULL);
	for (uint64 i = 0; i < SPI_processed; i++)
		read_turn((int) i, now);
	SPI_freetuptable(SPI_tuptable);
	sl_lanes_forget_unknown();
}

/* A row of the table of pauses that is to be written or to go. */
typedef struct PauseChange
{
	SlStatement *statement;
	Datum		*values;
} PauseChange;

static void
change_pause(void *argument)
{
	PauseChange *change = argument;

	sl_statement_execute(change->statement, change->values, NULL);
}

/* A trigger of somebody's on that table may fail, which is no reason to undo what jobs came to. */
static bool
could_change_pause(const SlLane *lane, SlStatement *statement, Datum *values)
{
	PauseChange change = {statement, values};
	ErrorData  *error = sl_attempt(change_pause, &change);

	if (error != NULL)
		sl_store_note(SL_ROW_TROUBLE,
					  psprintf("the pause of connection \"%s\" can't be written or ended",
							   NameStr(lane->connection)),
					  error);
	return error == NULL;
}

void
sl_store_pause(SlLane *lane, const char *reason, int sqlstate, const char *version)
{
	Datum values[] = {NameGetDatum(&lane->connection), ObjectIdGetDatum(lane->run_as),
					  CStringGetTextDatum(reason), CStringGetTextDatum(unpack_sql_state(sqlstate)),
					  CStringGetTextDatum(version)};

	lane->is_unwritten = !could_change_pause(lane, &pause_lane, values);
	sl_lane_pause(lane, version, sqlstate);
	ereport(LOG, (errmsg("the queue of connection \"%s\" is paused for role \"%s\"",
						 NameStr(lane->connection), GetUserNameFromId(lane->run_as, true)),
				  errdetail_internal("%s", reason)));
}

void
sl_store_resume(SlLane *lane)
{
	Datum values[] = {NameGetDatum(&lane->connection), ObjectIdGetDatum(lane->run_as)};

	if (!could_change_pause(lane, &resume_lane, values))
	{
		if (lane->probe_at != DT_NOEND)
			sl_trouble_put_off_probe(lane, GetCurrentTimestamp());
		return;
	}
	sl_lane_unpause(lane);
	sl_lane_rewind(lane);
}

bool
sl_store_fail_orphans(const SlLane *lane, const char *why, TimestampTz now)
{
	Datum values[] = {NameGetDatum(&lane->connection),
					  ObjectIdGetDatum(lane->run_as),
					  CStringGetTextDatum(why),
					  CStringGetTextDatum(unpack_sql_state(ERRCODE_UNDEFINED_OBJECT)),
					  TimestampTzGetDatum(now),
					  Int64GetDatum(ORPHANS_BATCH)};

	sl_statement_execute(&fail_orphans, values, NULL);
	if (SPI_processed > 0)
		ereport(LOG,
				(errmsg_plural("%d job of the queue of connection \"%s\" has failed",
							   "%d jobs of the queue of connection \"%s\" have failed",
							   (int) SPI_processed, (int) SPI_processed, NameStr(lane->connection)),
				 errdetail_internal("%s", why)));
	sl_queue_wake_at_commit(); /* somebody may wait for one of them */
	return SPI_processed == ORPHANS_BATCH;
}
