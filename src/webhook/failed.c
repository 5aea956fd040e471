/*
 * webhook/failed.c
 *		Events that could not be stored: kept with the error, and tried again when somebody asks.
 *
 * The row is written as smartlead_admin, never as a superuser: there may be triggers on this
 * table, too. Nobody but the table's owner writes others: what is tried again is taken for an event
 * that the receiver has got.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "table/insertion.h"
#include "webhook/registry.h"
#include "webhook/webhook.h"

#define TABLE "smartlead_failed_events"
#define SEQUENCE "smartlead_failed_events_id_seq"

PG_FUNCTION_INFO_V1(smartlead_retry_event);

static char *
table_name(void)
{
	Oid schema = sl_extension_schema();

	if (!OidIsValid(schema))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("extension smartlead is gone")));
	return quote_qualified_identifier(get_namespace_name(schema), TABLE);
}

/* The error as a user would see it in psql. */
static char *
error_text(const ErrorData *error)
{
	StringInfoData text;

	initStringInfo(&text);
	appendStringInfoString(&text, error->message ? error->message : "unknown error");
	if (error->detail)
		appendStringInfo(&text, "\nDETAIL:  %s", error->detail);
	if (error->hint)
		appendStringInfo(&text, "\nHINT:  %s", error->hint);
	if (error->context)
		appendStringInfo(&text, "\nCONTEXT:  %s", error->context);
	return text.data;
}

static Oid
recording_role(void)
{
	Oid role = sl_working_role(sl_admin_role());

	if (!OidIsValid(role))
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("role smartlead_admin must exist and not be a superuser"),
						errdetail("Events that can't be stored are recorded as that role.")));
	return role;
}

/* Of the table's columns, in their order. */
static const Oid column_types[] = {INT8OID,	 TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTOID,
								   INT8OID,	 TEXTOID,		 TEXTOID,		 JSONBOID,
								   BYTEAOID, TEXTOID,		 TEXTOID};

#define N_COLUMNS lengthof(column_types)

/* A row under construction. */
typedef struct FailedRow
{
	Datum values[N_COLUMNS];
	bool  nulls[N_COLUMNS];
	int	  n;
} FailedRow;

static void
add(FailedRow *row, bool given, Datum value)
{
	row->values[row->n] = value;
	row->nulls[row->n++] = !given;
}

static void
add_text(FailedRow *row, const char *text)
{
	add(row, text != NULL, text == NULL ? (Datum) 0 : CStringGetTextDatum(text));
}

static Oid
existing_relation(const char *name)
{
	Oid relation = sl_extension_relation(name);

	if (!OidIsValid(relation))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("extension smartlead is gone")));
	return relation;
}

/* As smartlead_admin, which itself may not insert: what is in the table has come from here. */
static void
insert(const FailedRow *row)
{
	Relation	  relation = table_open(existing_relation(TABLE), RowExclusiveLock);
	SlUserContext self;
	SlInsertion	  insertion;

	sl_become_user(recording_role(), &self);
	sl_insertion_begin(&insertion, relation, column_types, N_COLUMNS);
	sl_insertion_row(&insertion, row->values, row->nulls);
	sl_insertion_end(&insertion);
	sl_become_oneself(&self);
	table_close(relation, NoLock);
}

void
sl_failed_record(const SlSource *source, const char *event_type, Jsonb *payload, const char *body,
				 size_t length, const ErrorData *error)
{
	FailedRow	row = {.n = 0};
	const char *covered = payload == NULL ? sl_secrets_cover(body, length) : NULL;
	const char *kept = covered == NULL ? body : covered;

	add(&row, true, Int64GetDatum(nextval_internal(existing_relation(SEQUENCE), false)));
	add(&row, true, TimestampTzGetDatum(GetCurrentTimestamp()));
	add(&row, true, TimestampTzGetDatum(source->received_at));
	add_text(&row, source->connection);
	add(&row, true, Int64GetDatum(source->webhook));
	add_text(&row, source->request_id);
	add_text(&row, event_type);
	add(&row, payload != NULL, PointerGetDatum(payload));
	add(&row, payload == NULL,
		payload == NULL ? PointerGetDatum(cstring_to_text_with_len(kept, length)) : (Datum) 0);
	add_text(&row, unpack_sql_state(error->sqlerrcode));
	add_text(&row, error_text(error));
	insert(&row);
}

/* A failed event as its row tells. */
typedef struct FailedEvent
{
	SlSource  source;
	SlPayload payload;
} FailedEvent;

static char *
column(int number)
{
	return SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, number);
}

/* The event in a body, which is one event in this table even if it has several. */
static JsonbValue *
only_event(char *body)
{
	char	   *utf8 = pg_server_to_any(body, strlen(body), PG_UTF8);
	SlJsonCheck check = {0};
	JsonbValue *whole;
	SlPayload  *payloads;

	if (!sl_json_guard(utf8, strlen(utf8), &check) && check.fault != SL_JSON_NUMBER)
		ereport(ERROR, (errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
						errmsg("the body of the failed event is not JSON that can be read")));
	whole = sl_json_build(utf8, strlen(utf8));
	return sl_payload_split(whole, &payloads) == 1 ? payloads[0].value : whole;
}

/* Deletes and reads the row, with the caller's rights. False: there is none. */
static bool
take_row(int64 id, FailedEvent *failed)
{
	Oid	  type = INT8OID;
	Datum value = Int64GetDatum(id);
	bool  is_null;
	char *query = psprintf(
		"DELETE FROM %s WHERE id OPERATOR(pg_catalog.=) $1 RETURNING received_at, connection,"
		" webhook, request_id, payload, pg_catalog.convert_from(body, 'UTF8')",
		table_name());
	Datum payload;

	if (SPI_execute_with_args(query, 1, &type, &value, NULL, false, 0) != SPI_OK_DELETE_RETURNING)
		elog(ERROR, "could not take a failed event");
	if (SPI_processed == 0)
		return false;
	failed->source.received_at = DatumGetTimestampTz(
		SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &is_null));
	failed->source.connection = column(2);
	failed->source.webhook =
		DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 3, &is_null));
	failed->source.request_id = column(4);
	payload = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 5, &is_null);
	failed->payload.value =
		is_null ? only_event(column(6)) : sl_jsonb_open(DatumGetJsonbPCopy(payload));
	return true;
}

/* An event that is tried again. */
typedef struct Retry
{
	SlEventRow row;
	Oid		   role;
	int		   stored;
	int64	   id;
} Retry;

static void
insert_again(void *argument)
{
	Retry *retry = argument;

	retry->stored = sl_events_insert(&retry->row, 1, retry->role, false, &retry->id);
}

/* False: it is there already, or a trigger has dropped it. */
static bool
try_again(Retry *retry)
{
	ErrorData *error;

	if (sl_events_drop_known(&retry->row, 1) == 0)
		return false;
	error = sl_attempt(insert_again, retry);
	if (error != NULL && !sl_event_is_known(&retry->row, error))
		ReThrowError(error);
	return error == NULL && retry->stored > 0;
}

/*
 * smartlead_retry_event(id bigint) → bigint: the id in smartlead_events, or NULL if it was there
 *
 * What the receiver would do, as the same role, but in the caller's transaction and without a limit
 * of time. Raises what goes wrong, and then the event stays among the failed ones.
 */
Datum
smartlead_retry_event(PG_FUNCTION_ARGS)
{
	int64		id = PG_GETARG_INT64(0);
	FailedEvent failed = {0};
	SlEvent		event;
	Retry		retry = {.role = InvalidOid};
	bool		stored;

	PreventCommandIfReadOnly("smartlead_retry_event()");
	SPI_connect();
	if (!take_row(id, &failed))
		ereport(ERROR, (errcode(ERRCODE_NO_DATA_FOUND),
						errmsg("there is no failed event " INT64_FORMAT, id)));
	retry.role = sl_working_role(sl_registry_subscriber(failed.source.webhook));
	if (!OidIsValid(retry.role))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
						errmsg("the role that subscribed to this event exists no more")));
	sl_payload_read(&failed.payload, &event);
	sl_events_forget(); /* in a session, the extension may be another one than at the last call */
	sl_event_row(&event, &failed.source, &retry.row);
	stored = try_again(&retry);
	SPI_finish();
	if (!stored)
		PG_RETURN_NULL();
	PG_RETURN_INT64(retry.id);
}
