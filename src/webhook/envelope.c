/*
 * webhook/envelope.c
 *		From a webhook's body to its events.
 *
 * Automation tools and gateways put an event into an object of their own, as a member or as a text
 * that holds JSON, maybe in base64, and several into a list.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "common/base64.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"

#include "webhook/payload.h"

/* A body of more events than this is kept as one. */
#define MAX_EVENTS 1000

/* An envelope may hold another one, but not for ever. */
#define MAX_ENVELOPES 4

/* What an event is put into, as an object or as a JSON text. */
static const char *const envelopes[] = {"body", "data", "payload"};

/* Beside a body that a gateway has written in base64. */
#define BASE64_MARK "isBase64Encoded"

#define SECRET "secret_key"

/* ---- what is inside ---- */

/* The value of a JSON text that ends with a NUL; NULL: it is neither an object nor a list. */
static JsonbValue *
open_utf8(char *utf8, size_t length)
{
	char	   *start = utf8 + strspn(utf8, " \t\r\n");
	SlJsonCheck check = {0};

	length -= start - utf8;
	if ((*start != '{' && *start != '[') || !sl_json_guard(start, length, &check))
		return NULL;
	return sl_json_build(start, length);
}

/* The value in a text that holds JSON; NULL: it holds none. */
static JsonbValue *
open_text(const JsonbValue *text)
{
	char *copy = sl_trimmed(text->val.string.val, text->val.string.len);
	char *utf8;

	if (copy == NULL || (*copy != '{' && *copy != '['))
		return NULL;
	utf8 = pg_server_to_any(copy, strlen(copy), PG_UTF8);
	return open_utf8(utf8, strlen(utf8));
}

/* Puts a text in base64 into the place of one. */
static void
replace_base64(JsonbValue *text, const char *plain, int length)
{
	int	  room = pg_b64_enc_len(length);
	char *encoded = palloc(room);

	length = pg_b64_encode((const void *) plain, length, encoded, room);
	text->val.string.len = Max(length, 0);
	text->val.string.val = encoded;
}

/* The same in base64. What can't be opened stays as it is, but for its secrets. */
static JsonbValue *
open_base64(JsonbValue *text)
{
	int	  room = pg_b64_dec_len(text->val.string.len);
	char *utf8 = palloc(room + 1);
	int	  length = pg_b64_decode(text->val.string.val, text->val.string.len, (void *) utf8, room);
	JsonbValue *opened;
	char	   *covered;

	if (length < 0)
		return NULL;
	utf8[length] = '\0';
	opened = open_utf8(utf8, length);
	if (opened == NULL && (covered = sl_secrets_cover(utf8, length)) != NULL)
		replace_base64(text, covered, length);
	return opened;
}

static bool
is_in_base64(const SlObject *object)
{
	const JsonbValue *told = sl_object_member(object, BASE64_MARK, strlen(BASE64_MARK));

	return told != NULL && told->type == jbvBool && told->val.boolean;
}

/* A member, opened if it is a text; NULL: neither an object nor a list. */
static JsonbValue *
open_member(const SlObject *object, const char *name)
{
	JsonbValue *member = sl_object_member(object, name, strlen(name));

	if (member != NULL && member->type == jbvString)
		member = is_in_base64(object) ? open_base64(member) : open_text(member);
	if (member == NULL || (member->type != jbvObject && member->type != jbvArray))
		return NULL;
	return member;
}

JsonbValue *
sl_envelope_open(const SlObject *payload)
{
	JsonbValue *inner = NULL;

	for (int i = 0; i < lengthof(envelopes) && inner == NULL; i++)
		inner = open_member(payload, envelopes[i]);
	return inner;
}

/*
 * Is what an envelope would hold rather the event than the envelope itself? When it is of a known
 * kind; or when only it has a type; or when neither has, but it is the body of a request.
 */
static bool
is_event_within(const JsonbValue *inner, const char *outer_type, bool is_body)
{
	SlObject	event;
	SlEventKind kind;
	char	   *type;

	sl_object_open(&event, inner);
	if (event.value == NULL || event.value->type != jbvObject)
		return false;
	sl_payload_kind(&event, &type, &kind);
	if (kind != SL_UNKNOWN_KIND)
		return true;
	return outer_type == NULL && (type != NULL || (is_body && inner->type == jbvObject));
}

/* What is inside the envelope that an automation tool has put around the event; NULL: there is none. */
static JsonbValue *
unwrap(const SlObject *payload)
{
	SlEventKind kind;
	char	   *type;

	sl_payload_kind(payload, &type, &kind);
	if (kind != SL_UNKNOWN_KIND)
		return NULL;
	for (int i = 0; i < lengthof(envelopes); i++)
	{
		JsonbValue *inner = open_member(payload, envelopes[i]);

		if (inner != NULL && is_event_within(inner, type, i == 0))
			return inner;
	}
	return NULL;
}

/* ---- the events ---- */

static void gather_list(StringInfo payloads, JsonbValue *list, const char *secret_key, int depth);

static void
gather_one(StringInfo payloads, JsonbValue *value, const char *secret_key)
{
	SlPayload payload = {value, secret_key};

	appendBinaryStringInfo(payloads, (const char *) &payload, sizeof(payload));
}

/* An event, or an envelope or several with one or a list in it. The innermost secret counts. */
static void
gather(StringInfo payloads, JsonbValue *value, const char *secret_key, int depth)
{
	static SlPlace *secret_places = NULL;
	JsonbValue	   *inner = NULL;
	SlObject		object;
	char		   *secret;

	if (value->type == jbvObject)
	{
		sl_object_open(&object, value);
		secret = sl_first_text(&object, sl_places(SECRET, &secret_places));
		if (secret != NULL)
			secret_key = secret;
		inner = depth < MAX_ENVELOPES ? unwrap(&object) : NULL;
	}
	if (inner == NULL)
		gather_one(payloads, value, secret_key);
	else if (inner->type == jbvObject)
		gather(payloads, inner, secret_key, depth + 1);
	else
		gather_list(payloads, inner, secret_key, depth + 1);
}

static void
gather_list(StringInfo payloads, JsonbValue *list, const char *secret_key, int depth)
{
	if (payloads->len / sizeof(SlPayload) + list->val.array.nElems > MAX_EVENTS)
		gather_one(payloads, list, secret_key);
	else
		for (int i = 0; i < list->val.array.nElems; i++)
			gather(payloads, &list->val.array.elems[i], secret_key, depth);
}

int
sl_payload_split(JsonbValue *whole, SlPayload **payloads)
{
	StringInfoData gathered;
	JsonbValue	  *opened;

	initStringInfo(&gathered);
	if (whole->type == jbvString && (opened = open_text(whole)) != NULL)
		whole = opened;
	if (whole->type == jbvArray)
		gather_list(&gathered, whole, NULL, 0);
	else
		gather(&gathered, whole, NULL, 0);
	*payloads = (SlPayload *) gathered.data;
	return gathered.len / sizeof(SlPayload);
}
