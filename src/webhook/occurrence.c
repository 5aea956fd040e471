/*
 * webhook/occurrence.c
 *		Events that can only be told by what they say: is this one a repetition, or has it happened again?
 *
 * The rule is at the head of fingerprint.c. The first occurrence has the fingerprint of what the event
 * says, each other one a fingerprint of that and of the id of the occurrence before it. So two
 * receivers that get the same event at once see the same one before it, make the same fingerprint,
 * and the table of keys lets one of them pass.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"

#include "webhook/webhook.h"

/*
 * Smartlead repeats a delivery that failed after 1, 5 and 15 minutes, 1 hour and 6 hours, each counted
 * from the one before: 7 hours and 21 minutes after the first.
 */
#define SL_RETRY_WINDOW (8 * USECS_PER_HOUR)

/* How many of those before it are looked through. */
#define LOOKED_AT 50

static bool
is_within_window(TimestampTz a, TimestampTz b)
{
	return (a < b ? b - a : a - b) <= SL_RETRY_WINDOW;
}

/* The fingerprint of what comes after that occurrence. */
static void
follow(uint8 *fingerprint, int64 id)
{
	uint8 both[SL_FINGERPRINT_LENGTH + sizeof(int64)];

	memcpy(both, fingerprint, SL_FINGERPRINT_LENGTH);
	memcpy(both + SL_FINGERPRINT_LENGTH, &id, sizeof(id));
	sl_fingerprint_of(both, sizeof(both), fingerprint);
}

bool
sl_is_timeless_change(const SlEvent *event)
{
	if (sl_event_proof(event) != SL_BY_CONTENT)
		return false;
	return (event->kind == SL_CAMPAIGN_STATUS_CHANGED && event->campaign_id.given) ||
		   (event->kind == SL_LEAD_CATEGORY_UPDATED && event->lead_email != NULL);
}

/* What the event is a change of: a campaign, or a lead in a campaign; else all that it says. */
static void
find_subject(const SlEvent *event, const SlSource *source, SlEventKey *key)
{
	char *text;

	if (!sl_is_timeless_change(event))
	{
		memcpy(key->subject, key->content, SL_FINGERPRINT_LENGTH);
		return;
	}
	text = psprintf("%s %s %s " INT64_FORMAT " %s", source->connection, event->kind_name,
					event->campaign_id.given ? "of" : "without",
					event->campaign_id.given ? event->campaign_id.value : 0,
					event->kind == SL_CAMPAIGN_STATUS_CHANGED ? "" : event->lead_email);
	sl_fingerprint_of(text, strlen(text), key->subject);
	pfree(text);
}

/* May a webhook have kept a change of category to itself? Not if it was made for all of them. */
static bool
is_filtered(const SlEvent *event, const SlSource *source)
{
	const SlEventObjects *ours = sl_event_objects();
	Oid					  type = INT8OID;
	Datum				  value = Int64GetDatum(source->webhook);
	SlUserContext		  caller;
	bool				  found;

	if (event->kind != SL_LEAD_CATEGORY_UPDATED || source->request_id == NULL)
		return false;
	sl_become_owner(ours->keys, &caller);
	if (SPI_execute_with_args(psprintf("SELECT FROM %s.smartlead_webhooks"
									   " WHERE id OPERATOR(pg_catalog.=) $1 AND filtered",
									   ours->schema_name),
							  1, &type, &value, NULL, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not look for a webhook");
	sl_become_oneself(&caller);
	found = SPI_processed > 0;
	SPI_freetuptable(SPI_tuptable);
	return found;
}

/*
 * Of a change of state, only the last that was told can be the same one, unless the ids of the requests
 * say so; nor is it that where the change between them may not have been told.
 */
static bool
may_be_same_change(const SlOccurrence *other, bool is_last, const SlSource *source, bool filtered)
{
	bool known = other->request_id != NULL && source->request_id != NULL;
	bool same = known && strcmp(other->request_id, source->request_id) == 0;

	return same || (is_last && !(known && filtered));
}

/* Which of those before it, the last one first, is this one? NULL: none. */
static const SlOccurrence *
find_same(const SlOccurrence *others, int n, const SlEvent *event, const SlSource *source,
		  const SlEventKey *key)
{
	bool is_change = sl_is_timeless_change(event);
	bool filtered = n > 0 && is_filtered(event, source);

	for (int i = 0; i < n; i++)
		if (memcmp(others[i].content, key->content, SL_FINGERPRINT_LENGTH) == 0 &&
			is_within_window(others[i].received_at, source->received_at) &&
			(!is_change || may_be_same_change(&others[i], i == 0, source, filtered)))
			return &others[i];
	return NULL;
}

void
sl_event_key(const SlEvent *event, const SlSource *source, SlEventKey *key)
{
	SlOccurrence	   *others;
	const SlOccurrence *same;
	int					n;

	sl_fingerprint(event, source->connection, key->fingerprint);
	key->has_subject = sl_event_proof(event) == SL_BY_CONTENT;
	if (!key->has_subject)
		return;
	memcpy(key->content, key->fingerprint, SL_FINGERPRINT_LENGTH);
	find_subject(event, source, key);
	n = sl_keys_look_up(key->subject, LOOKED_AT, &others);
	same = find_same(others, n, event, source, key);
	if (same != NULL)
		memcpy(key->fingerprint, same->fingerprint, SL_FINGERPRINT_LENGTH);
	else if (n > 0)
		follow(key->fingerprint, others[0].id);
}
