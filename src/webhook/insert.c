/*
 * webhook/insert.c
 *		Rows into the table of events: as the role whose events they are, announced, and automated.
 *
 * Events that arrive together are one INSERT, by a plan that is kept. It goes by the names of the
 * columns that the type smartlead_event has, so the table may have others, in any order.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "commands/async.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/typcache.h"

#include "queue/automation.h"
#include "webhook/webhook.h"

#define CHANNEL "smartlead_events"

/* A notification must have less than 8000 bytes; a longer kind is none of Smartlead's. */
#define MAX_NOTIFIED_TEXT 100

/* Notifications that listeners have not read: from so much of the room for them on, there are no more. */
#define CROWDED 0.9

/* Of the statement, by which it is known in an error's context as well. */
#define SOURCE "OVERRIDING SYSTEM VALUE SELECT * FROM pg_catalog.unnest($1)"

/* After a commit that failed for want of room for notifications. */
#define SILENT_FOR_US 60000000

bool sl_in_users_code = false;

/* Rows as they are in the table now: all columns of smartlead_event, or id and kind. */
typedef struct Stored
{
	TupleDesc  descriptor;
	HeapTuple *rows;
	int		   n;
	bool	   whole;

	SPITupleTable *read; /* that holds them; NULL: they are those that were given */
} Stored;

/* ---- announcing ---- */

static int64 silent_until = 0;

void
sl_events_be_silent(void)
{
	silent_until = sl_now_us() + SILENT_FOR_US;
}

/*
 * Is there room for notifications? Without, the commit would fail, and no event is lost for a
 * notification.
 */
static bool
may_announce(void)
{
	double usage;

	if (!sl_notify_events)
		return false;
	if (sl_now_us() >= silent_until)
	{
		usage = DatumGetFloat8(DirectFunctionCall1(pg_notification_queue_usage, (Datum) 0));
		if (usage < CROWDED)
		{
			sl_receiver_trouble(SL_TROUBLE_NOTIFY, NULL);
			return true;
		}
	}
	sl_receiver_trouble(SL_TROUBLE_NOTIFY, "events are stored without notifications: some listener "
										   "does not read them, and there is no room for more");
	return false;
}

/*
 * Tells listeners of the new row, with the commit. Whoever may connect may listen, so they are told
 * what it is, not whom it is about.
 */
static void
announce(int64 id, const char *kind, StringInfo message)
{
	resetStringInfo(message);
	appendStringInfo(message, "{\"id\":" INT64_FORMAT, id);
	if (kind != NULL && strlen(kind) <= MAX_NOTIFIED_TEXT)
	{
		appendStringInfoString(message, ",\"type\":");
		escape_json(message, kind);
	}
	appendStringInfoChar(message, '}');
	Async_Notify(CHANNEL, message->data);
}

static int64
id_of(const Stored *stored, int i)
{
	bool is_null;

	return DatumGetInt64(heap_getattr(stored->rows[i], SPI_fnumber(stored->descriptor, "id"),
									  stored->descriptor, &is_null));
}

static void
announce_all(const Stored *stored)
{
	int			   kind = SPI_fnumber(stored->descriptor, "kind");
	StringInfoData message;

	if (stored->n == 0 || !may_announce())
		return;
	initStringInfo(&message);
	for (int i = 0; i < stored->n; i++)
		announce(id_of(stored, i), SPI_getvalue(stored->rows[i], stored->descriptor, kind),
				 &message);
	pfree(message.data);
}

/* ---- automations ---- */

static bool
has_connection(const SlEventRow *row, const char *connection)
{
	const text *own = DatumGetTextPP(row->values[SL_EVENT_CONNECTION - 1]);

	return connection != NULL && VARSIZE_ANY_EXHDR(own) == strlen(connection) &&
		   memcmp(VARDATA_ANY(own), connection, strlen(connection)) == 0;
}

/*
 * Automations use their owners' keys, so they act for what a webhook of that connection has brought,
 * and not for what a trigger has put in its place.
 */
static void
automate(const SlEventRow *rows, int n, Stored *stored)
{
	int connection = SPI_fnumber(stored->descriptor, "connection");
	int kept = 0;

	for (int i = 0; stored->whole && i < stored->n; i++)
	{
		const SlEventRow *row = sl_event_row_of((SlEventRow *) rows, n, id_of(stored, i));

		if (row != NULL && row->is_new &&
			has_connection(row, SPI_getvalue(stored->rows[i], stored->descriptor, connection)))
			stored->rows[kept++] = stored->rows[i];
	}
	if (kept > 0)
		sl_automations_run(stored->descriptor, stored->rows, kept);
}

/* May an automation want one of them? A trigger before the insertion can make another kind of it. */
static bool
may_be_automated(Oid table, const SlEventRow *rows, int n)
{
	Relation relation = table_open(table, NoLock);
	bool	 may_be = relation->trigdesc != NULL && relation->trigdesc->trig_insert_before_row;

	table_close(relation, NoLock);
	for (int i = 0; i < n && !may_be; i++)
		may_be = rows[i].is_new && !rows[i].nulls[SL_EVENT_KIND - 1] &&
				 sl_automations_wanted(TextDatumGetCString(rows[i].values[SL_EVENT_KIND - 1]));
	return may_be;
}

/* ---- inserting ---- */

/* What the statement gives back of each row. */
typedef enum Returning
{
	RETURN_NOTHING,
	RETURN_ID,	  /* and the kind */
	RETURN_WHOLE, /* the columns of smartlead_event */
	N_RETURNINGS
} Returning;

static char *
list_columns(void)
{
	TupleDesc	   descriptor = lookup_rowtype_tupdesc(sl_event_objects()->row_type, -1);
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; i < descriptor->natts; i++)
		appendStringInfo(&list, "%s%s", i == 0 ? "" : ", ",
						 quote_identifier(NameStr(TupleDescAttr(descriptor, i)->attname)));
	ReleaseTupleDesc(descriptor);
	return list.data;
}

static SPIPlanPtr
plan_for(Returning returning)
{
	static SlPlan		  plans[N_RETURNINGS];
	const SlEventObjects *ours = sl_event_objects();
	Oid					  type = get_array_type(ours->row_type);
	const char			 *columns;

	if (!sl_plan_is_ready(&plans[returning]))
	{
		columns = list_columns();
		sl_plan_make(&plans[returning],
					 psprintf("INSERT INTO %s.smartlead_events (%s) " SOURCE "%s%s",
							  ours->schema_name, columns,
							  returning == RETURN_NOTHING ? "" : " RETURNING ",
							  returning == RETURN_NOTHING ? ""
							  : returning == RETURN_ID	  ? "id, kind"
														  : columns),
					 1, &type);
	}
	return plans[returning].plan;
}

/* Returns how many rows are in the table now. */
static int
run_insertion(Returning returning, HeapTuple *rows, int n)
{
	Datum array = sl_composite_array(sl_event_objects()->row_type, rows, n);
	int	  result = SPI_execute_plan(plan_for(returning), &array, NULL, false, 0);

	if (result != (returning == RETURN_NOTHING ? SPI_OK_INSERT : SPI_OK_INSERT_RETURNING))
		elog(ERROR, "could not insert events: %s", SPI_result_code_string(result));
	return (int) SPI_processed;
}

static void
insert_together(Stored *stored, bool whole)
{
	stored->n = run_insertion(whole ? RETURN_WHOLE : RETURN_ID, stored->rows, stored->n);
	stored->read = SPI_tuptable;
	stored->descriptor = stored->read->tupdesc;
	stored->rows = stored->read->vals;
	stored->whole = whole;
}

/* For a role that may not read the rows: only their number tells whether a trigger has dropped one. */
static void
insert_one_by_one(Stored *stored)
{
	int kept = 0;

	for (int i = 0; i < stored->n; i++)
		if (run_insertion(RETURN_NOTHING, &stored->rows[i], 1) > 0)
			stored->rows[kept++] = stored->rows[i];
	stored->n = kept;
	stored->whole = true;
}

static bool
may_read_back(Oid table, Oid role)
{
	return pg_class_aclcheck(table, role, ACL_SELECT) == ACLCHECK_OK &&
		   check_enable_rls(table, role, true) != RLS_ENABLED;
}

static void
make_tuples(SlEventRow *rows, int n, Stored *stored)
{
	stored->rows = palloc(sizeof(HeapTuple) * n);
	stored->n = 0;
	for (int i = 0; i < n; i++)
		if (rows[i].is_new)
			stored->rows[stored->n++] =
				heap_form_tuple(stored->descriptor, rows[i].values, rows[i].nulls);
}

/* The current user is the role. */
static int
insert_rows(SlEventRow *rows, int n, Oid role, Oid table, int64 *first_id)
{
	MemoryContext caller = CurrentMemoryContext;
	TupleDesc	  descriptor = lookup_rowtype_tupdesc(sl_event_objects()->row_type, -1);
	Stored		  stored = {.descriptor = descriptor};

	make_tuples(rows, n, &stored);
	if (may_read_back(table, role))
		insert_together(&stored, may_be_automated(table, rows, n));
	else
		insert_one_by_one(&stored);
	if (stored.n > 0 && first_id != NULL)
		*first_id = id_of(&stored, 0);
	announce_all(&stored);
	automate(rows, n, &stored);
	SPI_freetuptable(stored.read);
	ReleaseTupleDesc(descriptor);
	MemoryContextSwitchTo(caller);
	return stored.n;
}

static int
insert_as(Oid role, SlEventRow *rows, int n, int64 *first_id)
{
	SlUserContext self;
	Oid			  table = sl_events_lock(RowExclusiveLock);
	bool		  before = sl_in_users_code; /* a trigger may have led here */
	int			  stored;

	sl_become_user(role, &self);
	set_config_option("search_path", sl_trigger_search_path, PGC_USERSET, PGC_S_SESSION,
					  GUC_ACTION_SAVE, true, 0, false);
	sl_in_users_code = true;
	stored = insert_rows(rows, n, role, table, first_id);
	sl_in_users_code = before;
	sl_become_oneself(&self);
	return stored;
}

/* Waits for whoever stores the same events now. */
static int
claim(SlEventRow *rows, int n, bool limited)
{
	volatile int n_new = 0;

	if (!limited)
		return sl_keys_claim(rows, n);
	PG_TRY();
	{
		sl_limit_start(NULL);
		n_new = sl_keys_claim(rows, n);
		sl_limit_stop();
	}
	PG_CATCH();
	{
		if (geterrcode() != ERRCODE_QUERY_CANCELED)
			PG_RE_THROW();
		/* With this code, it counts as trouble of the server's. */
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_RESOURCES),
						errmsg("another transaction stores the same event and does not end")));
	}
	PG_END_TRY();
	return n_new;
}

int
sl_events_insert(SlEventRow *rows, int n, Oid role, bool limited, int64 *id)
{
	const uint8 *fingerprint = n == 1 ? rows[0].key.fingerprint : NULL;
	int			 stored;

	sl_event_ids_draw(rows, n);
	if (claim(rows, n, limited) == 0)
		return 0;
	if (!limited)
		return insert_as(role, rows, n, id);
	sl_limit_start(fingerprint);
	if (fingerprint != NULL && sl_limit_was_broken_by(fingerprint))
		ereport(ERROR, (errcode(ERRCODE_QUERY_CANCELED),
						errmsg("a trigger could not be canceled after smartlead.trigger_timeout"),
						errdetail("The receiver had to be ended because of it.")));
	stored = insert_as(role, rows, n, id);
	sl_limit_stop();
	return stored;
}

void
sl_events_leave_out_statement(char *context)
{
	char *ours = context == NULL ? NULL : strstr(context, SOURCE);

	if (ours == NULL)
		return;
	while (ours > context && ours[-1] != '\n')
		ours--;
	ours[ours > context ? -1 : 0] = '\0';
}
