/*
 * webhook/insert.c
 *		The row of an event: inserted once, as the role whose event it is, and announced.
 *
 * The triggers of users run in here, within the time limit: first the server's own statement timer
 * cancels them. Code that catches the cancellation and goes on can't be stopped by errors; so some
 * time later the whole process is ended, which nothing can catch. Nobody has had an answer by then,
 * so Smartlead will send the batch again; and by its fingerprint, left in shared memory, the next
 * receiver knows the event that it must not try once more.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include <openssl/sha.h>
#include <signal.h>

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/async.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timeout.h"

#include "webhook/webhook.h"

#define CHANNEL "smartlead_events"

/* After the cancellation, until the process is ended. */
#define STUBBORN_GRACE_MS 2000

/* A notification must have less than 8000 bytes. */
#define MAX_NOTIFIED_EMAIL 1000

#define N_PARAMETERS 26

static SPIPlanPtr insert_plan = NULL;
static SPIPlanPtr last_change_plan = NULL;
static Oid		  events_relation = InvalidOid;

/* The event that ended the receiver before this one. */
static bool	 has_stubborn = false;
static uint8 stubborn[SL_FINGERPRINT_LENGTH];

Oid
sl_events_relation(void)
{
	if (!OidIsValid(events_relation))
		events_relation = sl_extension_relation("smartlead_events");
	return events_relation;
}

void
sl_event_plans_forget(void)
{
	events_relation = InvalidOid;
	if (insert_plan != NULL)
		SPI_freeplan(insert_plan);
	if (last_change_plan != NULL)
		SPI_freeplan(last_change_plan);
	insert_plan = last_change_plan = NULL;
}

static const char *
events_name(void)
{
	Oid schema = sl_extension_schema();

	if (!OidIsValid(schema))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("extension smartlead is gone")));
	return quote_qualified_identifier(get_namespace_name(schema), "smartlead_events");
}

static SPIPlanPtr
prepare(const char *query, int n, Oid *types)
{
	SPIPlanPtr plan = SPI_prepare(query, n, types);

	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	SPI_keepplan(plan);
	return plan;
}

static void
prepare_insert(void)
{
	Oid types[N_PARAMETERS] = {TIMESTAMPTZOID, TEXTOID, INT8OID, TEXTOID, UUIDOID, TEXTOID, TEXTOID,
							   TIMESTAMPTZOID, INT8OID, TEXTOID, INT8OID, INT8OID, INT8OID, TEXTOID,
							   TEXTOID,		   TEXTOID, TEXTOID, INT4OID, TEXTOID, TEXTOID, TEXTOID,
							   TEXTOID,		   TEXTOID, INT8OID, TEXTOID, JSONBOID};
	StringInfoData query;

	if (insert_plan != NULL)
		return;
	initStringInfo(&query);
	appendStringInfo(&query,
					 "INSERT INTO %s (received_at, connection, webhook, request_id, fingerprint,"
					 " event_type, kind, event_at, campaign_id, campaign_name, client_id, lead_id,"
					 " lead_map_id, lead_email, lead_name, from_email, to_email, sequence_number,"
					 " subject, message_id, stats_id, link, category, category_id, reply_text,"
					 " payload) VALUES ($1",
					 events_name());
	for (int i = 2; i <= N_PARAMETERS; i++)
		appendStringInfo(&query, ", $%d", i);
	appendStringInfoString(&query, ") ON CONFLICT DO NOTHING RETURNING id");
	insert_plan = prepare(query.data, N_PARAMETERS, types);
}

static void
prepare_last_change(void)
{
	Oid types[] = {TEXTOID, TEXTOID, INT8OID, TEXTOID};

	if (last_change_plan == NULL)
		last_change_plan = prepare(
			psprintf("(SELECT id, fingerprint, payload, received_at FROM %s"
					 " WHERE kind = 'CAMPAIGN_STATUS_CHANGED' AND $2 = kind AND campaign_id = $3"
					 " AND connection = $1 ORDER BY id DESC LIMIT 1) UNION ALL"
					 " (SELECT id, fingerprint, payload, received_at FROM %s"
					 " WHERE kind = 'LEAD_CATEGORY_UPDATED' AND $2 = kind AND lead_email = $4"
					 " AND campaign_id IS NOT DISTINCT FROM $3"
					 " AND connection = $1 ORDER BY id DESC LIMIT 1)",
					 events_name(), events_name()),
			lengthof(types), types);
}

/* One row's parameters under construction. */
typedef struct Parameters
{
	Datum values[N_PARAMETERS];
	char  nulls[N_PARAMETERS + 1];
	int	  n;
} Parameters;

static void
add(Parameters *parameters, bool given, Datum value)
{
	parameters->values[parameters->n] = value;
	parameters->nulls[parameters->n++] = given ? ' ' : 'n';
}

static void
add_text(Parameters *parameters, const char *text)
{
	add(parameters, text != NULL, text == NULL ? (Datum) 0 : CStringGetTextDatum(text));
}

static void
add_number(Parameters *parameters, bool given, int64 number)
{
	add(parameters, given, Int64GetDatum(number));
}

static void
fill(Parameters *parameters, const SlEvent *event, const SlSource *source, const uint8 *fingerprint)
{
	parameters->n = 0;
	add(parameters, true, TimestampTzGetDatum(source->received_at));
	add_text(parameters, source->connection);
	add_number(parameters, true, source->webhook);
	add_text(parameters, source->request_id);
	add(parameters, true, PointerGetDatum(fingerprint));
	add_text(parameters, event->event_type);
	add_text(parameters, event->kind);
	add(parameters, true, TimestampTzGetDatum(event->event_at));
	add_number(parameters, event->has_campaign_id, event->campaign_id);
	add_text(parameters, event->campaign_name);
	add_number(parameters, event->has_client_id, event->client_id);
	add_number(parameters, event->has_lead_id, event->lead_id);
	add_number(parameters, event->has_lead_map_id, event->lead_map_id);
	add_text(parameters, event->lead_email);
	add_text(parameters, event->lead_name);
	add_text(parameters, event->from_email);
	add_text(parameters, event->to_email);
	add(parameters, event->has_sequence_number, Int32GetDatum(event->sequence_number));
	add_text(parameters, event->subject);
	add_text(parameters, event->message_id);
	add_text(parameters, event->stats_id);
	add_text(parameters, event->link);
	add_text(parameters, event->category);
	add_number(parameters, event->has_category_id, event->category_id);
	add_text(parameters, event->reply_text);
	add(parameters, true, JsonbPGetDatum(event->payload));
	Assert(parameters->n == N_PARAMETERS);
}

/*
 * A change of state that holds no time: an equal one is the same change if nothing lies between
 * them, since a state can't change in the same way twice in a row. So the fingerprint of such a change
 * includes the id of the change before it. Two that arrive at once see the same one before them.
 */
static void
chain_fingerprint(SlEvent *event, const SlSource *source, uint8 *fingerprint)
{
	Datum		values[4] = {0};
	char		nulls[5] = "    ";
	bool		is_null;
	TupleDesc	descriptor;
	HeapTuple	row;
	SlEvent		last;
	uint8		last_own[SL_FINGERPRINT_LENGTH];
	uint8		hash[SHA256_DIGEST_LENGTH];
	uint8		both[SL_FINGERPRINT_LENGTH + sizeof(int64)];
	int64		id;
	TimestampTz received_at;

	prepare_last_change();
	values[0] = CStringGetTextDatum(source->connection);
	values[1] = CStringGetTextDatum(event->kind);
	values[2] = Int64GetDatum(event->campaign_id);
	nulls[2] = event->has_campaign_id ? ' ' : 'n';
	if (event->lead_email != NULL)
		values[3] = CStringGetTextDatum(event->lead_email);
	nulls[3] = event->lead_email != NULL ? ' ' : 'n';
	if (SPI_execute_plan(last_change_plan, values, nulls, false, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not read the last change of state");
	if (SPI_processed == 0)
		return;
	row = SPI_tuptable->vals[0];
	descriptor = SPI_tuptable->tupdesc;
	id = DatumGetInt64(SPI_getbinval(row, descriptor, 1, &is_null));
	received_at = DatumGetTimestampTz(SPI_getbinval(row, descriptor, 4, &is_null));
	sl_payload_read(DatumGetJsonbPCopy(SPI_getbinval(row, descriptor, 3, &is_null)), received_at,
					&last);
	sl_fingerprint(&last, source->connection, NULL, received_at, last_own);
	if (memcmp(last_own, fingerprint, SL_FINGERPRINT_LENGTH) == 0)
		memcpy(fingerprint, DatumGetPointer(SPI_getbinval(row, descriptor, 2, &is_null)),
			   SL_FINGERPRINT_LENGTH);
	else
	{
		memcpy(both, fingerprint, SL_FINGERPRINT_LENGTH);
		memcpy(both + SL_FINGERPRINT_LENGTH, &id, sizeof(id));
		SHA256(both, sizeof(both), hash);
		memcpy(fingerprint, hash, SL_FINGERPRINT_LENGTH);
	}
	SPI_freetuptable(SPI_tuptable);
}

/* Tells listeners, with the commit. */
static void
announce(const SlEvent *event, int64 id)
{
	StringInfoData text;

	if (!sl_notify_events)
		return;
	initStringInfo(&text);
	appendStringInfo(&text, "{\"id\":" INT64_FORMAT ",\"type\":", id);
	if (event->kind != NULL && strlen(event->kind) <= MAX_NOTIFIED_EMAIL)
		escape_json(&text, event->kind);
	else
		appendStringInfoString(&text, "null");
	if (event->has_campaign_id)
		appendStringInfo(&text, ",\"campaign_id\":" INT64_FORMAT, event->campaign_id);
	if (event->has_lead_id)
		appendStringInfo(&text, ",\"lead_id\":" INT64_FORMAT, event->lead_id);
	if (event->lead_email != NULL && strlen(event->lead_email) <= MAX_NOTIFIED_EMAIL)
	{
		appendStringInfoString(&text, ",\"lead_email\":");
		escape_json(&text, event->lead_email);
	}
	appendStringInfoChar(&text, '}');
	Async_Notify(CHANNEL, text.data);
	pfree(text.data);
}

/* Runs when a trigger has outlived its cancellation. */
static void
end_stubborn(void)
{
	sl_my_stats->stubborn = true;
	kill(MyProcPid, SIGTERM);
}

/* What the receiver before this one has left: the event whose trigger it died of, if so. */
static void
learn_stubborn(void)
{
	has_stubborn = sl_my_stats->running && sl_my_stats->stubborn;
	if (has_stubborn)
		memcpy(stubborn, sl_my_stats->fingerprint, SL_FINGERPRINT_LENGTH);
	sl_my_stats->running = sl_my_stats->stubborn = false;
}

static TimeoutId
stubborn_timer(void)
{
	static bool		 registered = false;
	static TimeoutId timer;

	if (!registered)
	{
		timer = RegisterTimeout(USER_TIMEOUT, end_stubborn);
		registered = true;
		learn_stubborn();
	}
	return timer;
}

void
sl_event_timers_start(const uint8 *fingerprint)
{
	TimeoutId			timer = stubborn_timer();
	EnableTimeoutParams both[2] = {
		{.id = STATEMENT_TIMEOUT, .type = TMPARAM_AFTER, .delay_ms = sl_trigger_timeout},
		{.id = timer, .type = TMPARAM_AFTER, .delay_ms = sl_trigger_timeout + STUBBORN_GRACE_MS}};

	memcpy(sl_my_stats->fingerprint, fingerprint, SL_FINGERPRINT_LENGTH);
	sl_my_stats->running = true;
	enable_timeouts(both, 2);
}

void
sl_event_timers_stop(void)
{
	DisableTimeoutParams both[2] = {{.id = STATEMENT_TIMEOUT, .keep_indicator = false},
									{.id = stubborn_timer(), .keep_indicator = false}};

	disable_timeouts(both, 2);
	sl_my_stats->running = false;
	/* The timer may have struck after all was done: that is nobody else's cancellation. */
	QueryCancelPending = false;
}

static bool
insert_row(const Parameters *parameters, int64 *id)
{
	bool is_null, is_new;

	if (SPI_execute_plan(insert_plan, (Datum *) parameters->values, parameters->nulls, false, 0) !=
		SPI_OK_INSERT_RETURNING)
		elog(ERROR, "could not insert an event");
	is_new = SPI_processed > 0;
	if (is_new)
		*id =
			DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &is_null));
	SPI_freetuptable(SPI_tuptable);
	return is_new;
}

bool
sl_event_insert(SlEvent *event, const SlSource *source, bool limited, int64 *id)
{
	uint8		  fingerprint[SL_FINGERPRINT_LENGTH];
	Parameters	  parameters;
	SlUserContext self;
	bool		  is_new;

	sl_fingerprint(event, source->connection, source->request_id, source->received_at, fingerprint);
	prepare_insert();
	if (sl_is_timeless_change(event))
		chain_fingerprint(event, source, fingerprint);
	fill(&parameters, event, source, fingerprint);
	if (limited)
		sl_event_timers_start(fingerprint);
	if (has_stubborn && memcmp(stubborn, fingerprint, SL_FINGERPRINT_LENGTH) == 0)
		ereport(ERROR, (errcode(ERRCODE_QUERY_CANCELED),
						errmsg("a trigger could not be canceled after smartlead.trigger_timeout"),
						errdetail("The receiver had to be ended because of it.")));
	sl_become_user(source->role, &self);
	set_config_option("search_path", sl_trigger_search_path, PGC_USERSET, PGC_S_SESSION,
					  GUC_ACTION_SAVE, true, 0, false);
	is_new = insert_row(&parameters, id);
	sl_become_oneself(&self);
	if (limited)
		sl_event_timers_stop();
	if (is_new)
		announce(event, *id);
	return is_new;
}
