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

/* Places are "name" or "outer.name"; lists of them end with NULL. */
typedef const char *const Places[12];

static Places event_type_places = {"event_type", "event", "eventType", "type"};
static Places campaign_id_places = {"campaign_id", "data.campaign_id"};
static Places campaign_name_places = {"campaign_name"};
static Places client_id_places = {"client_id"};
static Places lead_id_places = {"sl_email_lead_id", "lead_id", "lead.id"};
static Places lead_map_id_places = {"sl_email_lead_map_id", "email_lead_map_id", "lead_map_id"};
static Places lead_email_places = {"sl_lead_email",	  "leadCorrespondence.targetLeadEmail",
								   "lead_email",	  "lead.email",
								   "lead_data.email", "to_email"};
static Places lead_name_places = {"lead_name", "to_name", "lead.first_name", "lead_first_name"};
static Places from_email_places = {"from_email", "from", "email_account", "sender_detail"};
static Places to_email_places = {"to_email", "to"};
static Places sequence_number_places = {"sequence_number", "current_sequence",
										"current_sequence_number"};
static Places subject_places = {"subject", "custom_subject", "reply.subject"};
static Places stats_id_places = {"stats_id"};
static Places link_places = {"link_clicked", "link_details", "link.url", "link"};
static Places category_places = {"lead_category.new_name", "category", "lead_data.category.name"};
static Places category_id_places = {"lead_category.new_id", "lead_category_id", "category_id",
									"reply_category"};
static Places reply_text_places = {"reply_message.text", "preview_text", "visible_text",
								   "reply.body", "reply_body"};
static Places secret_key_places = {"secret_key"};

/* An event's own message: a reply's, a bounce's, else the one that was sent. */
static Places message_id_places = {
	"reply_message.message_id", "reply.message_id", "bounce_message.message_id",
	"bounce_reply_message_id",	"message_id",		"sent_message.message_id",
	"sent_message.id"};

static Places time_places = {"event_timestamp", "timestamp", "created_at"};
static Places sent_time_places = {"time_sent", "sent_message.time"};
static Places open_time_places = {"time_opened", "opened_at"};
static Places click_time_places = {"time_clicked", "link.clicked_at"};
static Places reply_time_places = {"time_replied", "reply_message.time", "reply.received_at"};
static Places bounce_time_places = {"bounce_message.time", "time_bounced"};

static bool
find_member(JsonbContainer *object, const char *name, size_t length, JsonbValue *value)
{
	return JsonContainerIsObject(object) &&
		   getKeyJsonValueFromContainer(object, name, length, value) != NULL;
}

static bool
find_place(JsonbContainer *root, const char *place, JsonbValue *value)
{
	const char *dot;

	while ((dot = strchr(place, '.')) != NULL)
	{
		if (!find_member(root, place, dot - place, value) || value->type != jbvBinary)
			return false;
		root = value->val.binary.data;
		place = dot + 1;
	}
	return find_member(root, place, strlen(place), value);
}

/* A scalar's text; of a list, its first element's. NULL: empty, or nothing of the sort. */
static char *
value_text(JsonbValue *value)
{
	if (value->type == jbvBinary && JsonContainerIsArray(value->val.binary.data) &&
		JsonContainerSize(value->val.binary.data) > 0)
		value = getIthJsonbValueFromContainer(value->val.binary.data, 0);
	if (value->type == jbvString && value->val.string.len > 0)
		return pnstrdup(value->val.string.val, value->val.string.len);
	if (value->type == jbvNumeric)
		return DatumGetCString(
			DirectFunctionCall1(numeric_out, NumericGetDatum(value->val.numeric)));
	return NULL;
}

static char *
text_at(JsonbContainer *root, Places places)
{
	JsonbValue value;
	char	  *text;

	for (int i = 0; places[i] != NULL; i++)
		if (find_place(root, places[i], &value) && (text = value_text(&value)) != NULL)
			return text;
	return NULL;
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
number_at(JsonbContainer *root, Places places, int64 *number)
{
	JsonbValue value;
	char	  *text;

	for (int i = 0; places[i] != NULL; i++)
	{
		if (!find_place(root, places[i], &value) || value.type == jbvBinary)
			continue;
		text = value_text(&value);
		if (text != NULL && whole_number(text, number))
			return true;
	}
	return false;
}

/* An ISO 8601 time, or seconds or milliseconds since 1970. */
static bool
time_at(JsonbContainer *root, Places places, TimestampTz *when)
{
	JsonbValue value;
	char	  *text;
	int64	   number;

	for (int i = 0; places[i] != NULL; i++)
	{
		if (!find_place(root, places[i], &value) || value.type == jbvBinary)
			continue;
		text = value_text(&value);
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
read_time(JsonbContainer *root, TimestampTz received_at, SlEvent *event)
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
sl_payload_read(Jsonb *payload, TimestampTz received_at, SlEvent *event)
{
	JsonbContainer *root = &payload->root;
	int64			number;

	memset(event, 0, sizeof(SlEvent));
	event->payload = payload;
	event->event_at = received_at;
	if (!JsonContainerIsObject(root))
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
	event->secret_key = text_at(root, secret_key_places);
}

/* What is inside an envelope that an automation tool has put around the event. */
static Jsonb *
unwrap(Jsonb *payload)
{
	JsonbValue value;

	if (!JsonContainerIsObject(&payload->root) ||
		text_at(&payload->root, event_type_places) != NULL ||
		!find_member(&payload->root, "body", 4, &value) || value.type != jbvBinary ||
		!JsonContainerIsObject(value.val.binary.data))
		return payload;
	return JsonbValueToJsonb(&value);
}

int
sl_payload_split(const char *body, size_t length, Jsonb ***payloads)
{
	Jsonb *whole = sl_json_build(body, length);
	int	   n = 1;
	bool   is_list = JsonContainerIsArray(&whole->root) && !JsonContainerIsScalar(&whole->root);

	if (is_list && JsonContainerSize(&whole->root) <= MAX_ELEMENTS)
		n = JsonContainerSize(&whole->root);
	else
		is_list = false;
	*payloads = palloc(sizeof(Jsonb *) * Max(n, 1));
	for (int i = 0; i < n; i++)
		(*payloads)[i] = unwrap(
			is_list ? JsonbValueToJsonb(getIthJsonbValueFromContainer(&whole->root, i)) : whole);
	return n;
}
