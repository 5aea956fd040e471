/*
 * webhook/payload.c
 *		From a webhook's body to the columns of an event.
 *
 * Smartlead's classic events are flat; its documentation also has an envelope with nested lead,
 * reply and link, one with type and created_at, and older names of fields and of event types.
 * Automation tools put the whole under "body". Each column is the first of a list of places that
 * holds something of use; a place that holds something else than expected is passed over, since the
 * whole payload is kept anyway.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "utils/builtins.h"
#include "utils/numeric.h"

#include "webhook/webhook.h"

/* An array of more elements than this is kept as one event. */
#define MAX_ELEMENTS 1000

/* From 1970, where Unix counts from, to 2000, where PostgreSQL does. */
#define UNIX_TO_POSTGRES_S ((int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY)

/* Known spellings of the event types, and the one that subscriptions use. */
static const struct
{
	const char *spelling;
	const char *kind;
} kinds[] = {
	{"EMAIL_SENT", "EMAIL_SENT"},
	{"SENT", "EMAIL_SENT"},
	{"FIRST_EMAIL_SENT", "FIRST_EMAIL_SENT"},
	{"EMAIL_OPEN", "EMAIL_OPEN"},
	{"EMAIL_OPENED", "EMAIL_OPEN"},
	{"OPENED", "EMAIL_OPEN"},
	{"EMAIL_LINK_CLICK", "EMAIL_LINK_CLICK"},
	{"EMAIL_LINK_CLICKED", "EMAIL_LINK_CLICK"},
	{"EMAIL_CLICKED", "EMAIL_LINK_CLICK"},
	{"LINK_CLICKED", "EMAIL_LINK_CLICK"},
	{"CLICKED", "EMAIL_LINK_CLICK"},
	{"EMAIL_REPLY", "EMAIL_REPLY"},
	{"EMAIL_REPLIED", "EMAIL_REPLY"},
	{"REPLIED", "EMAIL_REPLY"},
	{"LEAD_REPLIED", "EMAIL_REPLY"},
	{"LEAD_UNSUBSCRIBED", "LEAD_UNSUBSCRIBED"},
	{"EMAIL_UNSUBSCRIBED", "LEAD_UNSUBSCRIBED"},
	{"EMAIL_UNSUBSCRIBE", "LEAD_UNSUBSCRIBED"},
	{"UNSUBSCRIBED", "LEAD_UNSUBSCRIBED"},
	{"LEAD_CATEGORY_UPDATED", "LEAD_CATEGORY_UPDATED"},
	{"EMAIL_BOUNCE", "EMAIL_BOUNCE"},
	{"EMAIL_BOUNCED", "EMAIL_BOUNCE"},
	{"BOUNCED", "EMAIL_BOUNCE"},
	{"CAMPAIGN_STATUS_CHANGED", "CAMPAIGN_STATUS_CHANGED"},
	{"CAMPAIGN_STATUS_CHANGE", "CAMPAIGN_STATUS_CHANGED"},
	{"email.account.disconnected", "EMAIL_ACCOUNT_DISCONNECTED"},
};

typedef struct Key
{
	const char *text; /* NULL: there is none */
	int			length;
} Key;

/* A member of the event, or of a member of it, and so on. */
typedef struct Place
{
	Key path[3];
} Place;

/* clang-format off */
#define KEY(text) {text, sizeof(text) - 1}
#define AT(a) {{KEY(a)}}
#define IN(a, b) {{KEY(a), KEY(b)}}
#define IN_IN(a, b, c) {{KEY(a), KEY(b), KEY(c)}}
/* clang-format on */

/* Lists of them end with one without a key. */
typedef const Place Places[12];

static Places event_type_places = {AT("event_type"), AT("event"), AT("eventType"), AT("type")};
static Places campaign_id_places = {AT("campaign_id"), IN("data", "campaign_id")};
static Places campaign_name_places = {AT("campaign_name")};
static Places client_id_places = {AT("client_id")};
static Places lead_id_places = {AT("sl_email_lead_id"), AT("lead_id"), IN("lead", "id")};
static Places lead_map_id_places = {AT("sl_email_lead_map_id"), AT("email_lead_map_id"),
									AT("lead_map_id")};
static Places lead_email_places = {
	AT("sl_lead_email"),	  IN("leadCorrespondence", "targetLeadEmail"),
	AT("lead_email"),		  IN("lead", "email"),
	IN("lead_data", "email"), AT("to_email")};
static Places lead_name_places = {AT("lead_name"), AT("to_name"), IN("lead", "first_name"),
								  AT("lead_first_name")};
static Places from_email_places = {AT("from_email"), AT("from"), AT("email_account"),
								   AT("sender_detail")};
static Places to_email_places = {AT("to_email"), AT("to")};
static Places sequence_number_places = {AT("sequence_number"), AT("current_sequence"),
										AT("current_sequence_number")};
static Places subject_places = {AT("subject"), AT("custom_subject"), IN("reply", "subject")};
static Places stats_id_places = {AT("stats_id")};
static Places link_places = {AT("link_clicked"), AT("link_details"), IN("link", "url"), AT("link")};
static Places category_places = {IN("lead_category", "new_name"), AT("category"),
								 IN_IN("lead_data", "category", "name")};
static Places category_id_places = {IN("lead_category", "new_id"), AT("lead_category_id"),
									AT("category_id"), AT("reply_category")};
static Places reply_text_places = {IN("reply_message", "text"), AT("preview_text"),
								   AT("visible_text"), IN("reply", "body"), AT("reply_body")};
static Places secret_key_places = {AT("secret_key")};

/* An event's own message: a reply's, a bounce's, else the one that was sent. */
static Places message_id_places = {IN("reply_message", "message_id"),
								   IN("reply", "message_id"),
								   IN("bounce_message", "message_id"),
								   AT("bounce_reply_message_id"),
								   AT("message_id"),
								   IN("sent_message", "message_id"),
								   IN("sent_message", "id")};

static Places time_places = {AT("event_timestamp"), AT("timestamp"), AT("created_at")};
static Places sent_time_places = {AT("time_sent"), IN("sent_message", "time")};
static Places open_time_places = {AT("time_opened"), AT("opened_at")};
static Places click_time_places = {AT("time_clicked"), IN("link", "clicked_at")};
static Places reply_time_places = {AT("time_replied"), IN("reply_message", "time"),
								   IN("reply", "received_at")};
static Places bounce_time_places = {IN("bounce_message", "time"), AT("time_bounced")};

/* The members are sorted, by length and then by bytes. */
static const JsonbValue *
find_member(const JsonbValue *object, const Key *key)
{
	int low = 0, high = object->type == jbvObject ? object->val.object.nPairs : 0;

	while (low < high)
	{
		int				 middle = (low + high) / 2;
		const JsonbPair *pair = &object->val.object.pairs[middle];
		int				 order = key->length - pair->key.val.string.len;

		if (order == 0)
			order = memcmp(key->text, pair->key.val.string.val, key->length);
		if (order == 0)
			return &pair->value;
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}

static const JsonbValue *
find_place(const JsonbValue *root, const Place *place)
{
	for (int i = 0; i < lengthof(place->path) && place->path[i].text != NULL && root != NULL; i++)
		root = find_member(root, &place->path[i]);
	return root;
}

/* A scalar's text; of a list, its first element's. NULL: empty, or nothing of the sort. */
static char *
value_text(const JsonbValue *value)
{
	if (value->type == jbvArray && value->val.array.nElems > 0)
		value = &value->val.array.elems[0];
	if (value->type == jbvString && value->val.string.len > 0)
		return pnstrdup(value->val.string.val, value->val.string.len);
	if (value->type == jbvNumeric)
		return DatumGetCString(
			DirectFunctionCall1(numeric_out, NumericGetDatum(value->val.numeric)));
	return NULL;
}

static char *
text_at(const JsonbValue *root, Places places)
{
	for (const Place *place = places; place->path[0].text != NULL; place++)
	{
		const JsonbValue *value = find_place(root, place);
		char			 *text = value == NULL ? NULL : value_text(value);

		if (text != NULL)
			return text;
	}
	return NULL;
}

/* The text of the scalar at a place; NULL: there is none. */
static char *
scalar_at(const JsonbValue *root, const Place *place)
{
	const JsonbValue *value = find_place(root, place);

	return value == NULL || value->type == jbvArray ? NULL : value_text(value);
}

/* A whole number from a number or from digits in a string. */
static bool
whole_number(const char *text, int64 *number)
{
	char *end;

	errno = 0;
	*number = strtoll(text, &end, 10);
	return errno == 0 && end != text && *end == '\0';
}

static bool
number_at(const JsonbValue *root, Places places, int64 *number)
{
	for (const Place *place = places; place->path[0].text != NULL; place++)
	{
		char *text = scalar_at(root, place);

		if (text != NULL && whole_number(text, number))
			return true;
	}
	return false;
}

/* An ISO 8601 time, or seconds or milliseconds since 1970. */
static bool
time_at(const JsonbValue *root, Places places, TimestampTz *when)
{
	int64 number;

	for (const Place *place = places; place->path[0].text != NULL; place++)
	{
		char *text = scalar_at(root, place);

		if (text == NULL)
			continue;
		if (whole_number(text, &number))
		{
			if (number < INT64CONST(100000000) || number > INT64CONST(100000000000000))
				continue;
			if (number > INT64CONST(100000000000))
				*when = (number - UNIX_TO_POSTGRES_S * 1000) * 1000;
			else
				*when = (number - UNIX_TO_POSTGRES_S) * USECS_PER_SEC;
			return true;
		}
		if (sl_parse_timestamptz(text, when) && IS_VALID_TIMESTAMP(*when))
			return true;
	}
	return false;
}

const char *
sl_event_kind(const char *event_type)
{
	for (int i = 0; event_type != NULL && i < lengthof(kinds); i++)
		if (strcmp(kinds[i].spelling, event_type) == 0)
			return kinds[i].kind;
	return event_type;
}

static bool
is_kind(const SlEvent *event, const char *kind)
{
	return event->kind != NULL && strcmp(event->kind, kind) == 0;
}

/* Older events have a field for each kind of time; a bounce's time_sent is not the bounce's. */
static void
read_time(const JsonbValue *root, TimestampTz received_at, SlEvent *event)
{
	event->has_time = time_at(root, time_places, &event->event_at);
	if (event->has_time)
		return;
	if (is_kind(event, "EMAIL_REPLY") || is_kind(event, "UNTRACKED_REPLIES"))
		event->has_time = time_at(root, reply_time_places, &event->event_at);
	else if (is_kind(event, "EMAIL_LINK_CLICK"))
		event->has_time = time_at(root, click_time_places, &event->event_at);
	else if (is_kind(event, "EMAIL_OPEN"))
		event->has_time = time_at(root, open_time_places, &event->event_at);
	else if (is_kind(event, "EMAIL_SENT") || is_kind(event, "FIRST_EMAIL_SENT"))
		event->has_time = time_at(root, sent_time_places, &event->event_at);
	else if (is_kind(event, "EMAIL_BOUNCE"))
		event->has_time = time_at(root, bounce_time_places, &event->event_at);
	if (!event->has_time)
		event->event_at = received_at;
}

void
sl_payload_read(JsonbValue *payload, TimestampTz received_at, SlEvent *event)
{
	const JsonbValue *root = payload;
	int64			  number;

	memset(event, 0, sizeof(SlEvent));
	event->secret_key = text_at(root, secret_key_places);
	sl_secrets_leave_out(payload);
	event->payload = JsonbValueToJsonb(payload);
	event->event_at = received_at;
	if (root->type != jbvObject)
		return;
	event->event_type = text_at(root, event_type_places);
	event->kind = sl_event_kind(event->event_type);
	read_time(root, received_at, event);
	event->has_campaign_id = number_at(root, campaign_id_places, &event->campaign_id);
	event->has_client_id = number_at(root, client_id_places, &event->client_id);
	event->has_lead_id = number_at(root, lead_id_places, &event->lead_id);
	event->has_lead_map_id = number_at(root, lead_map_id_places, &event->lead_map_id);
	event->has_category_id = number_at(root, category_id_places, &event->category_id);
	event->has_sequence_number = number_at(root, sequence_number_places, &number) &&
								 number >= PG_INT32_MIN && number <= PG_INT32_MAX;
	if (event->has_sequence_number)
		event->sequence_number = (int32) number;
	event->campaign_name = text_at(root, campaign_name_places);
	event->lead_email = text_at(root, lead_email_places);
	event->lead_name = text_at(root, lead_name_places);
	event->from_email = text_at(root, from_email_places);
	event->to_email = text_at(root, to_email_places);
	event->subject = text_at(root, subject_places);
	event->message_id = text_at(root, message_id_places);
	event->stats_id = text_at(root, stats_id_places);
	event->link = text_at(root, link_places);
	event->category = text_at(root, category_places);
	event->reply_text = text_at(root, reply_text_places);
}

/* What is inside an envelope that an automation tool has put around the event. */
static JsonbValue *
unwrap(JsonbValue *payload)
{
	static const Key  body_key = KEY("body");
	const JsonbValue *body = find_member(payload, &body_key);

	if (body == NULL || body->type != jbvObject || text_at(payload, event_type_places) != NULL)
		return payload;
	return (JsonbValue *) body;
}

int
sl_payload_split(const char *body, size_t length, JsonbValue ***payloads)
{
	JsonbValue *whole = sl_json_build(body, length);
	bool		is_list = whole->type == jbvArray && whole->val.array.nElems <= MAX_ELEMENTS;
	int			n = is_list ? whole->val.array.nElems : 1;

	*payloads = palloc(sizeof(JsonbValue *) * Max(n, 1));
	for (int i = 0; i < n; i++)
		(*payloads)[i] = unwrap(is_list ? &whole->val.array.elems[i] : whole);
	return n;
}
