/*
 * webhook/fingerprint.c
 *		What identifies an event, whatever way and however often it is delivered.
 *
 * 128 bits: of the event's time, if it has one, and of a SHA-256 over the connection and over those
 * fields of the event that are the same in each delivery. Left out is what differs between two
 * deliveries of one event: which webhook it was, its name, address and secret, and texts about the
 * campaign's present state.
 *
 * Sent, open, click and reply of one e-mail share all ids, so the kind is a part of it; several opens
 * differ in their time, several clicks in time or link.
 *
 * An event that holds no time can only be told from another one by its content, and the same may
 * well happen twice: see the end of this file, and insert.c for changes of state.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "lib/stringinfo.h"

#include "webhook/webhook.h"

/* Of the time at a fingerprint's beginning. */
#define TIME_BYTES 6

/* Fields that differ between deliveries of one event. */
static const char *const volatile_fields[] = {
	"webhook_id",	 "webhook_name", "webhook_url",			 "secret_key",
	"metadata",		 "meta",		 "description",			 "campaign_status",
	"campaign_name", "app_url",		 "ui_master_inbox_link", "links",
};

static bool
is_volatile(const JsonbValue *name, bool is_status)
{
	if (is_status && name->val.string.len == 15 &&
		memcmp(name->val.string.val, "campaign_status", 15) == 0)
		return false; /* here it is what the event is about */
	for (int i = 0; i < lengthof(volatile_fields); i++)
		if (name->val.string.len == strlen(volatile_fields[i]) &&
			memcmp(name->val.string.val, volatile_fields[i], name->val.string.len) == 0)
			return true;
	return false;
}

static void
add_bytes(StringInfo data, char tag, const void *bytes, uint32 length)
{
	appendStringInfoChar(data, tag);
	appendBinaryStringInfo(data, (const char *) &length, sizeof(length));
	appendBinaryStringInfo(data, bytes, length);
}

static void
add_text(StringInfo data, char tag, const char *text)
{
	if (text != NULL)
		add_bytes(data, tag, text, strlen(text));
}

static void
add_number(StringInfo data, char tag, bool given, int64 number)
{
	if (given)
		add_bytes(data, tag, &number, sizeof(number));
}

/* One member as text; its name has been read. */
static void
add_member(StringInfo data, const JsonbValue *name, const JsonbValue *value)
{
	JsonbValue copy = *value;
	Jsonb	  *member = JsonbValueToJsonb(&copy);

	add_bytes(data, 'n', name->val.string.val, name->val.string.len);
	add_bytes(data, 'v', VARDATA(member), VARSIZE(member) - VARHDRSZ);
}

/* The whole payload but for its volatile fields; jsonb keeps members in one order. */
static void
add_payload(StringInfo data, Jsonb *payload, bool is_status)
{
	JsonbIterator	  *iterator;
	JsonbIteratorToken token;
	JsonbValue		   name, value;

	if (!JsonContainerIsObject(&payload->root))
	{
		add_bytes(data, 'v', VARDATA(payload), VARSIZE(payload) - VARHDRSZ);
		return;
	}
	iterator = JsonbIteratorInit(&payload->root);
	token = JsonbIteratorNext(&iterator, &value, true); /* the object begins */
	while ((token = JsonbIteratorNext(&iterator, &name, true)) == WJB_KEY)
	{
		JsonbIteratorNext(&iterator, &value, true);
		if (!is_volatile(&name, is_status))
			add_member(data, &name, &value);
	}
}

static bool
is_kind(const SlEvent *event, const char *kind)
{
	return event->kind != NULL && strcmp(event->kind, kind) == 0;
}

bool
sl_is_timeless_change(const SlEvent *event)
{
	if (event->has_time)
		return false;
	return (is_kind(event, "CAMPAIGN_STATUS_CHANGED") && event->has_campaign_id) ||
		   (is_kind(event, "LEAD_CATEGORY_UPDATED") && event->lead_email != NULL);
}

static void
add_identity(StringInfo data, const SlEvent *event)
{
	bool is_click = is_kind(event, "EMAIL_LINK_CLICK");
	bool is_category = is_kind(event, "LEAD_CATEGORY_UPDATED");

	add_text(data, 'k', event->kind);
	add_number(data, 'c', event->has_campaign_id, event->campaign_id);
	add_number(data, 'm', event->has_lead_map_id, event->lead_map_id);
	add_number(data, 'l', event->has_lead_id, event->lead_id);
	add_text(data, 'e', event->lead_email);
	add_text(data, 's', event->stats_id);
	add_number(data, '#', event->has_sequence_number, event->sequence_number);
	add_text(data, 'i', event->message_id);
	add_number(data, 't', event->has_time, event->event_at);
	if (is_click)
		add_text(data, 'u', event->link);
	if (is_category)
	{
		add_number(data, 'g', event->has_category_id, event->category_id);
		add_text(data, 'G', event->category);
	}
}

/*
 * Is there enough in these fields to tell the event from all others? A time with somebody or
 * something that it is about; or a message of one's own, which a reply or a bounce has once.
 */
static bool
is_identified(const SlEvent *event)
{
	bool has_subject = event->has_lead_map_id || event->has_lead_id || event->lead_email != NULL ||
					   event->stats_id != NULL || event->message_id != NULL;

	if (event->kind == NULL)
		return false;
	if (event->has_time)
		return has_subject;
	if (event->message_id != NULL)
		return is_kind(event, "EMAIL_REPLY") || is_kind(event, "EMAIL_BOUNCE") ||
			   is_kind(event, "EMAIL_SENT") || is_kind(event, "FIRST_EMAIL_SENT");
	return has_subject && event->has_sequence_number && is_kind(event, "MANUAL_STEP_REACHED");
}

/*
 * Without a time, the same content may be a repetition by Smartlead, or the same thing happening
 * again. The request's id tells, if there is one. If not, it is taken as a repetition within the day
 * (UTC) of its receipt, since Smartlead repeats for some hours at most.
 */
static void
add_occurrence(StringInfo data, const char *request_id, TimestampTz received_at)
{
	if (request_id != NULL)
		add_text(data, 'r', request_id);
	else
		add_number(data, 'd', true, received_at / USECS_PER_DAY);
}

void
sl_fingerprint_of(const void *bytes, size_t length, uint8 *fingerprint)
{
	uint8 hash[SL_HASH_LENGTH];

	if (!sl_sha256(bytes, length, hash))
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	memcpy(fingerprint, hash, SL_FINGERPRINT_LENGTH);
}

/*
 * The event's time goes first, in milliseconds, so that what happens at about the same time has its
 * place in the index close together: a few pages of it are in use, instead of all. The other ten
 * bytes of the hash tell events of one millisecond apart.
 */
static void
put_time_first(uint8 *fingerprint, TimestampTz when)
{
	uint64 milliseconds = (uint64) when / 1000;

	for (int i = 0; i < TIME_BYTES; i++)
		fingerprint[i] = (uint8) (milliseconds >> (8 * (TIME_BYTES - 1 - i)));
}

void
sl_fingerprint(const SlEvent *event, const char *connection, const char *request_id,
			   TimestampTz received_at, uint8 *fingerprint)
{
	StringInfoData data;

	initStringInfo(&data);
	add_text(&data, 'C', connection);
	add_identity(&data, event);
	if (!is_identified(event))
		add_payload(&data, event->payload, is_kind(event, "CAMPAIGN_STATUS_CHANGED"));
	if (!is_identified(event) && !event->has_time && !sl_is_timeless_change(event))
		add_occurrence(&data, request_id, received_at);
	sl_fingerprint_of(data.data, data.len, fingerprint);
	if (event->has_time)
		put_time_first(fingerprint, event->event_at);
	pfree(data.data);
}
