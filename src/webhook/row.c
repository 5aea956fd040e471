/*
 * webhook/row.c
 *		Events as rows of smartlead_events.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

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
add_number(Filler *filler, const SlNumber *number)
{
	add(filler, number->given, Int64GetDatum(number->value));
}

void
sl_event_row(const SlEvent *event, const SlSource *source, SlEventRow *row)
{
	Filler		filler = {row, 0};
	SlNumber	webhook = {true, source->webhook};
	TimestampTz event_at = event->time.given ? event->time.value : source->received_at;

	sl_event_key(event, source, &row->key);
	add(&filler, false, (Datum) 0); /* the id comes with the insertion */
	add(&filler, true, TimestampTzGetDatum(source->received_at));
	add_text(&filler, source->connection);
	add_number(&filler, &webhook);
	add_text(&filler, source->request_id);
	add(&filler, true, PointerGetDatum(row->key.fingerprint));
	add_text(&filler, event->event_type);
	add_text(&filler, event->kind_name);
	add(&filler, true, TimestampTzGetDatum(event_at));
	add_number(&filler, &event->campaign_id);
	add_text(&filler, event->campaign_name);
	add_number(&filler, &event->client_id);
	add_number(&filler, &event->lead_id);
	add_number(&filler, &event->lead_map_id);
	add_text(&filler, event->lead_email);
	add_text(&filler, event->lead_name);
	add_text(&filler, event->from_email);
	add_text(&filler, event->to_email);
	add(&filler, event->sequence_number.given, Int32GetDatum((int32) event->sequence_number.value));
	add_text(&filler, event->subject);
	add_text(&filler, event->message_id);
	add_text(&filler, event->stats_id);
	add_text(&filler, event->link);
	add_text(&filler, event->category);
	add_number(&filler, &event->category_id);
	add_text(&filler, event->reply_text);
	add(&filler, true, JsonbPGetDatum(event->payload));
	Assert(filler.n == SL_N_EVENT_COLUMNS);
}
