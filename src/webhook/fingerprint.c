/*
 * webhook/fingerprint.c
 *		What is one event, whatever way and however often it is delivered.
 *
 * Two deliveries are one event if connection and kind are the same, and besides
 *
 * - if they tell a time: campaign, lead, stats_id, sequence number, message_id, the times, the link of
 *   a click, the category of a change and the text of a reply without message_id are the same; where
 *   they are of an unknown kind, or name neither lead nor message, all that they say is the same;
 * - if they tell no time, but the Message-ID of the event's own e-mail (what was sent, the reply, the
 *   bounce): the same, without times;
 * - if they tell neither: all that they say is the same, and the one came within eight hours of the
 *   other (SL_RETRY_WINDOW), which is longer than Smartlead goes on to repeat a delivery. A change of
 *   state, which is one of a campaign's status or of a lead's category, must also be the last that
 *   was told of that campaign or lead, unless both have the same X-Request-Id. And of a webhook that
 *   was subscribed with categories, a change of category with another X-Request-Id is another one,
 *   because the change between them may be one that wasn't told.
 *
 * Beyond that, X-Request-Id neither makes two events one nor one event two: nobody knows whether it
 * belongs to the event or to the delivery.
 *
 * "All that they say" is the payload but for what differs between two deliveries of one event: which
 * webhook it was, its name, address and secret, and texts about the campaign's present state. Sent,
 * open, click and reply of one e-mail share all ids, so the kind is a part of it; several opens differ
 * in their time, several clicks in time or link.
 *
 * The fingerprint has 128 bits: of the event's time, if it has one, and of a SHA-256 over what is named
 * above. The occurrences of what happens again without a time: occurrence.c.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/numeric.h"

#include "webhook/webhook.h"

/* Of the time at a fingerprint's beginning. */
#define TIME_BYTES 6

/* Fields that differ between deliveries of one event; the first, unless it is what the event is about. */
static const char *const volatile_fields[] = {
	"campaign_status", "campaign_name", "webhook_id",			"webhook_name", "metadata", "meta",
	"description",	   "app_url",		"ui_master_inbox_link", "links",
};

static bool
is_volatile(const JsonbValue *name, bool is_status)
{
	for (int i = is_status ? 1 : 0; i < lengthof(volatile_fields); i++)
		if (name->val.string.len == strlen(volatile_fields[i]) &&
			memcmp(name->val.string.val, volatile_fields[i], name->val.string.len) == 0)
			return true;
	return false;
}

/* The payload without its volatile fields. */
static Jsonb *
lasting(Jsonb *payload, bool is_status)
{
	JsonbIterator	*iterator;
	JsonbParseState *state = NULL;
	JsonbValue		 name, value;

	if (!JsonContainerIsObject(&payload->root))
		return payload;
	iterator = JsonbIteratorInit(&payload->root);
	JsonbIteratorNext(&iterator, &value, true); /* the object begins */
	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	while (JsonbIteratorNext(&iterator, &name, true) == WJB_KEY)
	{
		JsonbIteratorNext(&iterator, &value, true);
		if (is_volatile(&name, is_status))
			continue;
		pushJsonbValue(&state, WJB_KEY, &name);
		pushJsonbValue(&state, WJB_VALUE, &value);
	}
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

/* ---- what it is made of ---- */

/* One thing that tells the event from others. */
typedef struct Part
{
	const char *name;
	enum
	{
		TEXT,
		NUMBER,
		TIME,
		JSON
	} type;
	const char *text;
	int64		number;
	Jsonb	   *json;
} Part;

#define MAX_PARTS 16

typedef struct Parts
{
	Part parts[MAX_PARTS];
	int	 n;
} Parts;

static Part *
add_part(Parts *parts, const char *name)
{
	Part *part = &parts->parts[parts->n++];

	Assert(parts->n <= MAX_PARTS);
	memset(part, 0, sizeof(Part));
	part->name = name;
	return part;
}

static void
add_text(Parts *parts, const char *name, const char *text)
{
	Part *part;

	if (text == NULL)
		return;
	part = add_part(parts, name);
	part->type = TEXT;
	part->text = text;
}

static void
add_number(Parts *parts, const char *name, const SlNumber *number)
{
	Part *part;

	if (!number->given)
		return;
	part = add_part(parts, name);
	part->type = NUMBER;
	part->number = number->value;
}

static void
add_time(Parts *parts, const char *name, const SlTime *when)
{
	Part *part;

	if (!when->given)
		return;
	part = add_part(parts, name);
	part->type = TIME;
	part->number = when->value;
}

static void
add_payload(Parts *parts, const SlEvent *event)
{
	Part *part = add_part(parts, "payload");

	part->type = JSON;
	part->json = lasting(event->payload, event->kind == SL_CAMPAIGN_STATUS_CHANGED);
}

SlProof
sl_event_proof(const SlEvent *event)
{
	if (event->time.given)
		return SL_BY_TIME;
	return event->has_own_message && event->message_id != NULL ? SL_BY_MESSAGE : SL_BY_CONTENT;
}

/* Does it name somebody or something that it is about, and is known what it tells of that? */
static bool
has_subject(const SlEvent *event)
{
	return event->kind != SL_UNKNOWN_KIND &&
		   (event->lead_map_id.given || event->lead_id.given || event->lead_email != NULL ||
			event->stats_id != NULL || event->message_id != NULL);
}

static void
list_parts(const SlEvent *event, const char *connection, Parts *parts)
{
	parts->n = 0;
	add_text(parts, "connection", connection);
	add_text(parts, "kind", event->kind_name);
	add_number(parts, "campaign_id", &event->campaign_id);
	add_number(parts, "lead_map_id", &event->lead_map_id);
	add_number(parts, "lead_id", &event->lead_id);
	add_text(parts, "lead_email", event->lead_email);
	add_text(parts, "stats_id", event->stats_id);
	add_number(parts, "sequence_number", &event->sequence_number);
	add_text(parts, "message_id", event->message_id);
	add_time(parts, "event_at", &event->time);
	if (event->told_time.value != event->time.value)
		add_time(parts, "event_timestamp", &event->told_time);
	if (event->kind == SL_EMAIL_LINK_CLICK)
		add_text(parts, "link", event->link);
	if (event->kind == SL_EMAIL_REPLY && event->message_id == NULL)
		add_text(parts, "reply_text", event->reply_text);
	if (event->kind == SL_LEAD_CATEGORY_UPDATED)
	{
		add_number(parts, "category_id", &event->category_id);
		add_text(parts, "category", event->category);
	}
	if (sl_event_proof(event) == SL_BY_CONTENT || !has_subject(event))
		add_payload(parts, event);
}

/* ---- as a fingerprint ---- */

static void
append_bytes(StringInfo data, const void *bytes, uint32 length)
{
	appendBinaryStringInfo(data, (const char *) &length, sizeof(length));
	appendBinaryStringInfo(data, bytes, length);
}

static void
append_part(StringInfo data, const Part *part)
{
	append_bytes(data, part->name, strlen(part->name));
	if (part->type == TEXT)
		append_bytes(data, part->text, strlen(part->text));
	else if (part->type == JSON)
		append_bytes(data, VARDATA(part->json), VARSIZE(part->json) - VARHDRSZ);
	else
		append_bytes(data, &part->number, sizeof(part->number));
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
sl_fingerprint(const SlEvent *event, const char *connection, uint8 *fingerprint)
{
	StringInfoData data;
	Parts		   parts;

	list_parts(event, connection, &parts);
	initStringInfo(&data);
	for (int i = 0; i < parts.n; i++)
		append_part(&data, &parts.parts[i]);
	sl_fingerprint_of(data.data, data.len, fingerprint);
	if (event->time.given)
		put_time_first(fingerprint, event->time.value);
	pfree(data.data);
}

/* ---- as an object ---- */

static void
part_value(const Part *part, JsonbValue *value)
{
	value->type = jbvString;
	switch (part->type)
	{
		case TEXT:
			value->val.string.val = unconstify(char *, part->text);
			break;
		case NUMBER:
			value->type = jbvNumeric;
			value->val.numeric = sl_int64_numeric(part->number);
			return;
		case TIME:
			value->val.string.val = DatumGetCString(
				DirectFunctionCall1(timestamptz_out, TimestampTzGetDatum(part->number)));
			break;
		case JSON:
			if (JB_ROOT_IS_SCALAR(part->json))
				JsonbExtractScalar(&part->json->root, value);
			else
			{
				value->type = jbvBinary;
				value->val.binary.data = &part->json->root;
				value->val.binary.len = VARSIZE(part->json) - VARHDRSZ;
			}
			return;
	}
	value->val.string.len = strlen(value->val.string.val);
}

Jsonb *
sl_fingerprint_parts(const SlEvent *event, const char *connection)
{
	JsonbParseState *state = NULL;
	Parts			 parts;

	list_parts(event, connection, &parts);
	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	for (int i = 0; i < parts.n; i++)
	{
		JsonbValue name = {.type = jbvString}, value;

		name.val.string.val = unconstify(char *, parts.parts[i].name);
		name.val.string.len = strlen(parts.parts[i].name);
		part_value(&parts.parts[i], &value);
		pushJsonbValue(&state, WJB_KEY, &name);
		pushJsonbValue(&state, WJB_VALUE, &value);
	}
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}
