/*
 * webhook/event_key.c
 *		What identifies an event, for whoever wants to know why two are one, or one is two.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"
#include "utils/uuid.h"

#include "json/json.h"
#include "webhook/webhook.h"

PG_FUNCTION_INFO_V1(smartlead_event_key);

#define N_COLUMNS 5

static const char *const proofs[] = {
	[SL_BY_TIME] = "time", [SL_BY_MESSAGE] = "message", [SL_BY_CONTENT] = "content"};

static void
add_text(const char *text, Datum *value, bool *null)
{
	*null = text == NULL;
	*value = text == NULL ? (Datum) 0 : CStringGetTextDatum(text);
}

static void
put_row(ReturnSetInfo *result, const SlPayload *payload, const char *connection)
{
	Datum	   values[N_COLUMNS] = {0};
	bool	   nulls[N_COLUMNS] = {0};
	pg_uuid_t *fingerprint = palloc(sizeof(pg_uuid_t));
	SlEvent	   event;

	sl_payload_read(payload, &event);
	sl_fingerprint(&event, connection, fingerprint->data);
	add_text(event.kind_name, &values[0], &nulls[0]);
	values[1] = TimestampTzGetDatum(event.time.value);
	nulls[1] = !event.time.given;
	add_text(proofs[sl_event_proof(&event)], &values[2], &nulls[2]);
	values[3] = UUIDPGetDatum(fingerprint);
	values[4] = JsonbPGetDatum(sl_fingerprint_parts(&event, connection));
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/*
 * smartlead_event_key(payload jsonb, connection text) → (kind, event_at, told_by, fingerprint,
 * made_of), a row for each event in the payload
 *
 * The connection is a part of what is made into the fingerprint; NULL: without it, to compare
 * payloads. Asks nobody, and looks at no table.
 */
Datum
smartlead_event_key(PG_FUNCTION_ARGS)
{
	SlPayload  *payloads;
	const char *connection = PG_ARGISNULL(1) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(1));
	int			n;

	sl_init_materialized_srf(fcinfo);
	if (PG_ARGISNULL(0))
		return (Datum) 0;
	n = sl_payload_split(sl_jsonb_open(PG_GETARG_JSONB_P(0)), &payloads);
	for (int i = 0; i < n; i++)
		put_row((ReturnSetInfo *) fcinfo->resultinfo, &payloads[i], connection);
	return (Datum) 0;
}
