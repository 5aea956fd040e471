/*
 * webhook/row.c
 *		Events as rows of smartlead_events.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"

#include "webhook/webhook.h"

/* A row under construction. */
typedef struct Filler
{
	SlEventRow *row;
	int			n;
} Filler;

static void
add(Filler *filler, bool given, Datum value)
{
	filler->row->values[filler->n] = value;
	filler->row->nulls[filler->n++] = !given;
}

static void
add_text(Filler *filler, const char *text)
{
	add(filler, text != NULL, text == NULL ? (Datum) 0 : CStringGetTextDatum(text));
}

static void
add_number(Filler *filler, bool given, int64 number)
{
	add(filler, given, Int64GetDatum(number));
}

/*
 * The latest change of state of the same campaign or lead, whoever may see it. False: there is none.
 */
static bool
find_last_change(const SlEvent *event, const SlSource *source)
{
	Oid	  types[] = {TEXTOID, TEXTOID, INT8OID, TEXTOID};
	Datum values[lengthof(types)] = {0};
	char  nulls[lengthof(types) + 1] = "    ";
	bool  is_status = strcmp(event->kind, "CAMPAIGN_STATUS_CHANGED") == 0;

	SlUserContext caller;

	values[0] = CStringGetTextDatum(source->connection);
	values[1] = CStringGetTextDatum(event->kind);
	values[2] = Int64GetDatum(event->campaign_id);
	nulls[2] = event->has_campaign_id ? ' ' : 'n';
	nulls[3] = event->lead_email != NULL ? ' ' : 'n';
	if (event->lead_email != NULL)
		values[3] = CStringGetTextDatum(event->lead_email);
	sl_become_owner(sl_events_relation(), &caller);
	if (SPI_execute_with_args(
			psprintf("SELECT id, fingerprint, payload, received_at FROM %s"
					 " WHERE kind OPERATOR(pg_catalog.=) '%s' AND kind OPERATOR(pg_catalog.=) $2"
					 " AND connection OPERATOR(pg_catalog.=) $1 AND %s ORDER BY id DESC LIMIT 1",
					 sl_events_name(),
					 is_status ? "CAMPAIGN_STATUS_CHANGED" : "LEAD_CATEGORY_UPDATED",
					 is_status ? "campaign_id OPERATOR(pg_catalog.=) $3"
							   : "lead_email OPERATOR(pg_catalog.=) $4 AND (campaign_id"
								 " OPERATOR(pg_catalog.=) $3 OR ($3 IS NULL AND campaign_id IS"
								 " NULL))"),
			lengthof(types), types, values, nulls, false, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not read the last change of state");
	sl_become_oneself(&caller);
	return SPI_processed > 0;
}

/*
 * A change of state that holds no time: an equal one is the same change if nothing lies between
 * them, since a state can't change in the same way twice in a row. So the fingerprint of such a
 * change includes the id of the change before it. Two that arrive at once see the same one before
 * them.
 */
static void
chain_fingerprint(const SlEvent *event, const SlSource *source, uint8 *fingerprint)
{
	bool		is_null;
	TupleDesc	descriptor;
	HeapTuple	row;
	SlEvent		last;
	uint8		last_own[SL_FINGERPRINT_LENGTH];
	uint8		both[SL_FINGERPRINT_LENGTH + sizeof(int64)];
	int64		id;
	TimestampTz received_at;

	if (!find_last_change(event, source))
		return;
	row = SPI_tuptable->vals[0];
	descriptor = SPI_tuptable->tupdesc;
	id = DatumGetInt64(SPI_getbinval(row, descriptor, 1, &is_null));
	received_at = DatumGetTimestampTz(SPI_getbinval(row, descriptor, 4, &is_null));
	sl_payload_read(sl_jsonb_open(DatumGetJsonbPCopy(SPI_getbinval(row, descriptor, 3, &is_null))),
					received_at, &last);
	sl_fingerprint(&last, source->connection, NULL, received_at, last_own);
	if (memcmp(last_own, fingerprint, SL_FINGERPRINT_LENGTH) == 0)
		memcpy(fingerprint, DatumGetPointer(SPI_getbinval(row, descriptor, 2, &is_null)),
			   SL_FINGERPRINT_LENGTH);
	else
	{
		memcpy(both, fingerprint, SL_FINGERPRINT_LENGTH);
		memcpy(both + SL_FINGERPRINT_LENGTH, &id, sizeof(id));
		sl_fingerprint_of(both, sizeof(both), fingerprint);
	}
	SPI_freetuptable(SPI_tuptable);
}

void
sl_event_row(const SlEvent *event, const SlSource *source, SlEventRow *row)
{
	Filler filler = {row, 0};

	sl_fingerprint(event, source->connection, source->request_id, source->received_at,
				   row->fingerprint);
	if (sl_is_timeless_change(event))
		chain_fingerprint(event, source, row->fingerprint);
	add(&filler, false, (Datum) 0); /* the id comes with the insertion */
	add(&filler, true, TimestampTzGetDatum(source->received_at));
	add_text(&filler, source->connection);
	add_number(&filler, true, source->webhook);
	add_text(&filler, source->request_id);
	add(&filler, true, PointerGetDatum(row->fingerprint));
	add_text(&filler, event->event_type);
	add_text(&filler, event->kind);
	add(&filler, true, TimestampTzGetDatum(event->event_at));
	add_number(&filler, event->has_campaign_id, event->campaign_id);
	add_text(&filler, event->campaign_name);
	add_number(&filler, event->has_client_id, event->client_id);
	add_number(&filler, event->has_lead_id, event->lead_id);
	add_number(&filler, event->has_lead_map_id, event->lead_map_id);
	add_text(&filler, event->lead_email);
	add_text(&filler, event->lead_name);
	add_text(&filler, event->from_email);
	add_text(&filler, event->to_email);
	add(&filler, event->has_sequence_number, Int32GetDatum(event->sequence_number));
	add_text(&filler, event->subject);
	add_text(&filler, event->message_id);
	add_text(&filler, event->stats_id);
	add_text(&filler, event->link);
	add_text(&filler, event->category);
	add_number(&filler, event->has_category_id, event->category_id);
	add_text(&filler, event->reply_text);
	add(&filler, true, JsonbPGetDatum(event->payload));
	Assert(filler.n == SL_N_EVENT_COLUMNS);
}
