/*
 * webhook/insert.c
 *		Rows into smartlead_events: each event once, as the role whose events they are, and announced.
 *
 * To look whether an event is there before it is inserted costs an eighth of the insertion, and
 * repetitions are rare: so inserting a repetition is an error, and who expects some looks first.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "access/table.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "commands/async.h"
#include "commands/sequence.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "storage/lock.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "table/insertion.h"
#include "webhook/webhook.h"

#define TABLE "smartlead_events"
#define SEQUENCE "smartlead_events_id_seq"
#define CHANNEL "smartlead_events"

/* A notification must have less than 8000 bytes; a longer kind is none of Smartlead's. */
#define MAX_NOTIFIED_TEXT 100

/* Notifications that listeners have not read: from so much of the room for them on, there are no more. */
#define CROWDED 0.9

/* After a commit that failed for want of room for notifications. */
#define SILENT_FOR_US 60000000

/* The kind of lock by which an insertion tells its first id (mark_first_id). */
#define MARK 8700

/* Of the table's columns, in their order. */
static const Oid column_types[] = {
	INT8OID, TIMESTAMPTZOID, TEXTOID, INT8OID, TEXTOID, UUIDOID, TEXTOID, TEXTOID, TIMESTAMPTZOID,
	INT8OID, TEXTOID,		 INT8OID, INT8OID, INT8OID, TEXTOID, TEXTOID, TEXTOID, TEXTOID,
	INT4OID, TEXTOID,		 TEXTOID, TEXTOID, TEXTOID, TEXTOID, INT8OID, TEXTOID, JSONBOID};

StaticAssertDecl(lengthof(column_types) == SL_N_EVENT_COLUMNS, "each column has a type");

static Oid events = InvalidOid;
static Oid sequence = InvalidOid;

Oid
sl_events_relation(void)
{
	if (!OidIsValid(events))
	{
		events = sl_extension_relation(TABLE);
		sequence = sl_extension_relation(SEQUENCE);
	}
	return events;
}

void
sl_events_forget(void)
{
	events = sequence = InvalidOid;
}

static Oid
existing_relation(void)
{
	Oid relation = sl_events_relation();

	if (!OidIsValid(relation) || !OidIsValid(sequence))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_RESOURCES), errmsg("extension smartlead is gone")));
	return relation;
}

char *
sl_events_name(void)
{
	Oid schema = get_rel_namespace(existing_relation());

	return quote_qualified_identifier(get_namespace_name(schema), TABLE);
}

const char *
sl_events_schema(void)
{
	return quote_identifier(get_namespace_name(get_rel_namespace(existing_relation())));
}

bool
sl_may_be_known_event(const ErrorData *error)
{
	return error->sqlerrcode == ERRCODE_UNIQUE_VIOLATION && error->constraint_name != NULL &&
		   strcmp(error->constraint_name, "smartlead_events_fingerprint") == 0 &&
		   error->table_name != NULL && strcmp(error->table_name, TABLE) == 0;
}

/* ---- what is known already ---- */

static bool
same_event(const SlEventRow *a, const SlEventRow *b)
{
	return memcmp(a->fingerprint, b->fingerprint, SL_FINGERPRINT_LENGTH) == 0;
}

static ArrayType *
fingerprints(const SlEventRow *rows, int n)
{
	Datum *values = palloc(sizeof(Datum) * n);

	for (int i = 0; i < n; i++)
		values[i] = rows[i].values[SL_EVENT_FINGERPRINT - 1];
	return construct_array(values, n, UUIDOID, SL_FINGERPRINT_LENGTH, false, TYPALIGN_CHAR);
}

/* Marks those that are in the table, whatever row security lets the current user see of it. */
static void
look_up(const SlEventRow *rows, int n, bool *known)
{
	Oid			  type = UUIDARRAYOID;
	Datum		  value = PointerGetDatum(fingerprints(rows, n));
	char		 *name = sl_events_name();
	bool		  is_null;
	SlUserContext caller;

	sl_become_owner(existing_relation(), &caller);
	if (SPI_execute_with_args(
			psprintf("SELECT a.n FROM pg_catalog.unnest($1) WITH ORDINALITY AS a(fingerprint, n)"
					 " WHERE EXISTS (SELECT FROM %s e WHERE e.fingerprint OPERATOR(pg_catalog.=)"
					 " a.fingerprint)",
					 name),
			1, &type, &value, NULL, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not look events up");
	sl_become_oneself(&caller);
	for (uint64 i = 0; i < SPI_processed; i++)
		known[DatumGetInt64(
				  SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &is_null)) -
			  1] = true;
	SPI_freetuptable(SPI_tuptable);
}

/* A row's fingerprint is its own memory, to which a value points. */
static void
move_row(SlEventRow *to, const SlEventRow *from)
{
	if (to == from)
		return;
	*to = *from;
	to->values[SL_EVENT_FINGERPRINT - 1] = PointerGetDatum(to->fingerprint);
}

int
sl_events_drop_known(SlEventRow *rows, int n)
{
	bool *known = palloc0(sizeof(bool) * n);
	int	  left = 0;

	look_up(rows, n, known);
	for (int i = 0; i < n; i++)
	{
		for (int j = 0; j < left && !known[i]; j++)
			known[i] = same_event(&rows[i], &rows[j]);
		if (!known[i])
			move_row(&rows[left++], &rows[i]);
	}
	pfree(known);
	return left;
}

bool
sl_event_is_known(SlEventRow *row, const ErrorData *error)
{
	return error->sqlerrcode == ERRCODE_UNIQUE_VIOLATION && sl_events_drop_known(row, 1) == 0;
}

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
announce(TupleTableSlot *slot, StringInfo message)
{
	bool  is_null;
	Datum datum = slot_getattr(slot, SL_EVENT_ID, &is_null);
	char *kind;

	resetStringInfo(message);
	appendStringInfo(message, "{\"id\":" INT64_FORMAT, DatumGetInt64(datum));
	datum = slot_getattr(slot, SL_EVENT_KIND, &is_null);
	kind = is_null ? NULL : TextDatumGetCString(datum);
	if (kind != NULL && strlen(kind) <= MAX_NOTIFIED_TEXT)
	{
		appendStringInfoString(message, ",\"type\":");
		escape_json(message, kind);
	}
	appendStringInfoChar(message, '}');
	Async_Notify(CHANNEL, message->data);
}

/* ---- inserting ---- */

/* What is being stored, and how many triggers deep. */
typedef struct Storing
{
	const SlEventRow *rows;
	int				  n;
	int				  depth;
} Storing;

static Storing storing = {0};

static int
trigger_depth(void)
{
	return DatumGetInt32(OidFunctionCall0(F_PG_TRIGGER_DEPTH));
}

static bool
has_connection(const SlEventRow *row, const char *connection)
{
	const text *own = DatumGetTextPP(row->values[SL_EVENT_CONNECTION - 1]);

	return VARSIZE_ANY_EXHDR(own) == strlen(connection) &&
		   memcmp(VARDATA_ANY(own), connection, strlen(connection)) == 0;
}

bool
sl_event_is_being_stored(int64 id, const char *connection)
{
	if (storing.n == 0 || trigger_depth() != storing.depth + 1)
		return false;
	for (int i = 0; i < storing.n; i++)
		if (DatumGetInt64(storing.rows[i].values[SL_EVENT_ID - 1]) == id)
			return has_connection(&storing.rows[i], connection);
	return false;
}

static int64
next_id(void)
{
	return nextval_internal(sequence, false);
}

/*
 * Ids are drawn before the commit. From this until the end of the transaction, a lock that nobody waits
 * for tells the first one: smartlead_new_events() reads them in pg_locks, and goes no further than
 * where everything has come to its end. A subtransaction that is undone takes its lock along; so the
 * next one marks the same id once more, which is low enough.
 */
static void
mark_first_id(int64 id)
{
	static FullTransactionId marked_in = {0};
	static int64			 first = 0;
	FullTransactionId		 transaction = GetTopFullTransactionId();
	LOCKTAG					 tag;

	if (!FullTransactionIdEquals(transaction, marked_in))
		first = id == 0 ? next_id() : id;
	marked_in = transaction;
	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, (uint32) (first >> 32), (uint32) first, MARK);
	tag.locktag_type = LOCKTAG_USERLOCK; /* those of SQL are another type, so they never meet */
	(void) LockAcquire(&tag, ShareLock, false, false);
}

void
sl_events_mark(void)
{
	(void) existing_relation();
	mark_first_id(0);
}

static int
insert_rows(Relation relation, SlEventRow *rows, int n, bool marked, int64 *first_id)
{
	SlInsertion	   insertion;
	StringInfoData message;
	int64		   id = next_id();
	bool		   announces = may_announce();
	int			   stored = 0;

	if (marked)
		mark_first_id(id);
	initStringInfo(&message);
	sl_insertion_begin(&insertion, relation, column_types, SL_N_EVENT_COLUMNS);
	for (int i = 0; i < n; i++)
	{
		bool is_null;

		rows[i].values[SL_EVENT_ID - 1] = Int64GetDatum(i == 0 ? id : next_id());
		rows[i].nulls[SL_EVENT_ID - 1] = false;
		if (!sl_insertion_row(&insertion, rows[i].values, rows[i].nulls))
			continue;
		if (stored++ == 0 && first_id != NULL)
			*first_id = DatumGetInt64(slot_getattr(insertion.slot, SL_EVENT_ID, &is_null));
		if (announces)
			announce(insertion.slot, &message);
	}
	sl_insertion_end(&insertion);
	pfree(message.data);
	return stored;
}

/* The same, known to those who ask what is being stored. */
static int
store_rows(Relation relation, SlEventRow *rows, int n, bool marked, int64 *first_id)
{
	Storing		 before = storing;
	volatile int stored = 0;

	for (int i = 0; i < n; i++)
		rows[i].values[SL_EVENT_ID - 1] = Int64GetDatum(0);
	storing = (Storing){rows, n, trigger_depth()};
	PG_TRY();
	{
		stored = insert_rows(relation, rows, n, marked, first_id);
	}
	PG_FINALLY();
	{
		storing = before;
	}
	PG_END_TRY();
	return stored;
}

/* As the role; row security is for readers, and doesn't hold up what arrives. */
static int
insert_as(Oid role, SlEventRow *rows, int n, bool marked, int64 *first_id)
{
	SlUserContext self;
	Relation	  relation = table_open(existing_relation(), RowExclusiveLock);
	int			  stored;

	if (pg_class_aclcheck(RelationGetRelid(relation), role, ACL_INSERT) != ACLCHECK_OK)
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_TABLE, RelationGetRelationName(relation));
	sl_become_user(role, &self);
	set_config_option("search_path", sl_trigger_search_path, PGC_USERSET, PGC_S_SESSION,
					  GUC_ACTION_SAVE, true, 0, false);
	stored = store_rows(relation, rows, n, marked, first_id);
	sl_become_oneself(&self);
	table_close(relation, NoLock);
	return stored;
}

int
sl_events_insert(SlEventRow *rows, int n, Oid role, bool limited, int64 *id)
{
	int stored;

	if (limited)
		sl_limit_start(n == 1 ? rows[0].fingerprint : NULL);
	if (limited && n == 1 && sl_limit_was_broken_by(rows[0].fingerprint))
		ereport(ERROR, (errcode(ERRCODE_QUERY_CANCELED),
						errmsg("a trigger could not be canceled after smartlead.trigger_timeout"),
						errdetail("The receiver had to be ended because of it.")));
	/* In a user's own transaction, lower ids may have been drawn before, so it can't be marked. */
	stored = insert_as(role, rows, n, limited, id);
	if (limited)
		sl_limit_stop();
	return stored;
}
