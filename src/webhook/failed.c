/*
 * webhook/failed.c
 *		Events that could not be stored: kept with the error, and tried again when somebody asks.
 *
 * Rows are written as the table's owner, and nobody else may write any, nor put triggers on it: what
 * is tried again is taken for an event that the receiver has got.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "webhook/registry.h"
#include "webhook/webhook.h"

#define TABLE "smartlead_failed_events"

PG_FUNCTION_INFO_V1(smartlead_retry_event);

static Oid
existing_table(void)
{
	Oid table = sl_extension_relation(TABLE);

	if (!OidIsValid(table))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("extension smartlead is gone")));
	return table;
}

static char *
name_of(Oid table)
{
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(table)), TABLE);
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
	sl_events_leave_out_statement(error->context);
	if (error->context && *error->context != '\0')
		appendStringInfo(&text, "\nCONTEXT:  %s", error->context);
	return text.data;
}

/* What a row is given: the other columns have defaults. */
#define COLUMNS                                                                                    \
	"received_at, connection, webhook, request_id, event_type, payload, body, sqlstate, error"

static Oid column_types[] = {TIMESTAMPTZOID, TEXTOID,  INT8OID, TEXTOID, TEXTOID,
							 JSONBOID,		 BYTEAOID, TEXTOID, TEXTOID};

#define N_COLUMNS lengthof(column_types)

/* A row under construction. */
typedef struct FailedRow
{
	Datum values[N_COLUMNS];
	char  nulls[N_COLUMNS];
	int	  n;
} FailedRow;

static void
add(FailedRow *row, bool given, Datum value)
{
	row->values[row->n] = value;
	row->nulls[row->n++] = given ? ' ' : 'n';
}

static void
add_text(FailedRow *row, const char *text)
{
	add(row, text != NULL, text == NULL ? (Datum) 0 : CStringGetTextDatum(text));
}

static void
insert(FailedRow *row)
{
	Oid			  table = existing_table();
	SlUserContext self;

	sl_become_owner(table, &self);
	if (SPI_execute_with_args(
			psprintf("INSERT INTO %s (" COLUMNS ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
					 name_of(table)),
			N_COLUMNS, column_types, row->values, row->nulls, false, 0) != SPI_OK_INSERT)
		elog(ERROR, "could not record a failed event");
	sl_become_oneself(&self);
}

void
sl_failed_record(const SlSource *source, const char *event_type, Jsonb *payload, const char *body,
				 size_t length, const ErrorData *error)
{
	FailedRow	row = {.n = 0};
	const char *covered = payload == NULL ? sl_secrets_cover(body, length) : NULL;
	const char *kept = covered == NULL ? body : covered;

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
		name_of(existing_table()));
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
	SlEventRow	row;
	Oid			role;
	int64		stored_id;
	bool		stored;

	PreventCommandIfReadOnly("smartlead_retry_event()");
	SPI_connect();
	if (!take_row(id, &failed))
		ereport(ERROR, (errcode(ERRCODE_NO_DATA_FOUND),
						errmsg("there is no failed event " INT64_FORMAT, id)));
	role = sl_working_role(sl_registry_subscriber(failed.source.webhook));
	if (!OidIsValid(role))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
						errmsg("the role that subscribed to this event exists no more")));
	sl_events_lock(RowExclusiveLock);
	sl_payload_read(&failed.payload, &event);
	sl_event_row(&event, &failed.source, &row);
	stored = sl_events_insert(&row, 1, role, false, &stored_id) > 0;
	SPI_finish();
	if (!stored)
		PG_RETURN_NULL();
	PG_RETURN_INT64(stored_id);
}
