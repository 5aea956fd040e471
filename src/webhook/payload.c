/*
 * webhook/payload.c
 *		From a webhook's body to events, and from an event's payload to its columns.
 *
 * What the names mean stands in fields.c; here is how its table is read.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include <ctype.h>
#include <math.h>

#include "common/base64.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/numeric.h"

#include "json/json.h"
#include "webhook/fields.h"

/* A body of more events than this is kept as one. */
#define MAX_EVENTS 1000

/* An envelope may hold another one, but not for ever. */
#define MAX_ENVELOPES 4

#define MAX_KEYS 3	  /* in a path */
#define MAX_PARTS 2	  /* of what is put together */
#define MAX_PLACES 12 /* in a list of them */

/* From 1970, where Unix counts from, to 2000, where PostgreSQL does. */
#define UNIX_TO_POSTGRES_S ((int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY)

/* ---- the table, made ready for reading ---- */

typedef struct Key
{
	const char *text;
	int			length;
} Key;

/* A member of the payload, or of a member of it, and so on. */
typedef struct Path
{
	Key keys[MAX_KEYS];
	int n;
} Path;

typedef struct Place
{
	Path		parts[MAX_PARTS];
	int			n_parts;
	const char *parameter; /* of the URL that is there, with its "="; or NULL */
	bool		has_address;
	bool		is_last_word;
	bool		is_only_null; /* the last word, but no value */
} Place;

typedef struct PlaceList
{
	Place places[MAX_PLACES];
	int	  n;
} PlaceList;

static PlaceList  type_places, secret_places, envelope_places;
static PlaceList *mark_places;	/* as many as sl_kind_marks */
static PlaceList *field_places; /* as many as sl_fields */
static bool		  is_ready = false;

static void
ready_path(char *text, Path *path)
{
	char *rest = text, *name;

	while ((name = strsep(&rest, ".")) != NULL)
	{
		if (path->n == MAX_KEYS)
			elog(ERROR, "a place in a payload has too many members");
		path->keys[path->n].text = name;
		path->keys[path->n++].length = strlen(name);
	}
}

static void
ready_place(char *text, Place *place)
{
	size_t length = strlen(text);
	char  *rest = text, *part;
	char  *parameter = strchr(text, '?');

	if (text[length - 1] == '!')
		place->is_last_word = true;
	if (text[length - 1] == '@')
		place->has_address = true;
	if (text[length - 1] == '~')
		place->is_only_null = true;
	if (place->is_last_word || place->has_address || place->is_only_null)
		text[length - 1] = '\0';
	if (parameter != NULL)
	{
		*parameter = '\0';
		place->parameter = psprintf("%s=", parameter + 1);
	}
	while ((part = strsep(&rest, "+")) != NULL)
	{
		if (place->n_parts == MAX_PARTS)
			elog(ERROR, "a place in a payload has too many parts");
		ready_path(part, &place->parts[place->n_parts++]);
	}
}

static void
ready_list(const char *text, PlaceList *list)
{
	char *rest = pstrdup(text), *place;

	while ((place = strsep(&rest, " ")) != NULL)
	{
		if (list->n == MAX_PLACES)
			elog(ERROR, "a field has too many places");
		ready_place(place, &list->places[list->n++]);
	}
}

static void
make_ready(void)
{
	MemoryContext caller;
	int			  n;

	if (is_ready)
		return;
	caller = MemoryContextSwitchTo(TopMemoryContext);
	ready_list(sl_type_places, &type_places);
	ready_list(sl_secret_places, &secret_places);
	ready_list(sl_envelopes, &envelope_places);
	for (n = 0; sl_kind_marks[n].place != NULL; n++)
		;
	mark_places = palloc0(sizeof(PlaceList) * n);
	for (int i = 0; i < n; i++)
		ready_list(sl_kind_marks[i].place, &mark_places[i]);
	for (n = 0; sl_fields[n].places != NULL; n++)
		;
	field_places = palloc0(sizeof(PlaceList) * n);
	for (int i = 0; i < n; i++)
		ready_list(sl_fields[i].places, &field_places[i]);
	MemoryContextSwitchTo(caller);
	is_ready = true;
}

/* ---- finding ---- */

/* Where an event's fields are looked for. */
typedef struct Sources
{
	const JsonbValue *payload;
	const JsonbValue *inner; /* what is in an envelope of it; or NULL */
} Sources;

/* The members are sorted, by length and then by bytes. */
static JsonbValue *
find_member(const JsonbValue *object, const Key *key)
{
	int low = 0, high = object->type == jbvObject ? object->val.object.nPairs : 0;

	while (low < high)
	{
		int		   middle = (low + high) / 2;
		JsonbPair *pair = &object->val.object.pairs[middle];
		int		   order = key->length - pair->key.val.string.len;

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

/* A list's first element; anything else is itself. NULL: the list is empty. */
static const JsonbValue *
first_of(const JsonbValue *value)
{
	if (value->type != jbvArray)
		return value;
	return value->val.array.nElems > 0 ? &value->val.array.elems[0] : NULL;
}

static const JsonbValue *
find_path(const JsonbValue *root, const Path *path)
{
	for (int i = 0; i < path->n && root != NULL; i++)
		if ((root = first_of(root)) != NULL)
			root = find_member(root, &path->keys[i]);
	return root == NULL ? NULL : first_of(root);
}

/* ---- reading ---- */

static bool
is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* A text of that length without the blanks around it; NULL: nothing is left. */
static char *
trimmed(const char *text, size_t length)
{
	while (length > 0 && is_space(text[length - 1]))
		length--;
	while (length > 0 && is_space(*text))
	{
		text++;
		length--;
	}
	return length == 0 ? NULL : pnstrdup(text, length);
}

/* Blanks alone, or two hyphens? */
static bool
is_placeholder(const JsonbValue *text)
{
	int hyphens = 0;

	for (int i = 0; i < text->val.string.len; i++)
	{
		char c = text->val.string.val[i];

		hyphens += c == '-';
		if (!is_space(c) && (c != '-' || hyphens > 2))
			return false;
	}
	return hyphens != 1;
}

/* A scalar's text. NULL: a placeholder, or nothing of the sort. */
static char *
value_text(const JsonbValue *value)
{
	if (value == NULL)
		return NULL;
	if (value->type == jbvString && !is_placeholder(value))
		return pnstrdup(value->val.string.val, value->val.string.len);
	if (value->type == jbvNumeric)
		return DatumGetCString(
			DirectFunctionCall1(numeric_out, NumericGetDatum(value->val.numeric)));
	return NULL;
}

static bool
is_address_character(char c)
{
	return isalnum((unsigned char) c) || strchr(".!#$%&'*+/=?^_`{|}~-@", c) != NULL;
}

/* The first e-mail address in a text; NULL: there is none. */
static char *
address_within(const char *text)
{
	const char *start, *end, *at;

	for (at = strchr(text, '@'); at != NULL; at = strchr(at + 1, '@'))
	{
		for (start = at; start > text && start[-1] != '@' && is_address_character(start[-1]);)
			start--;
		for (end = at + 1; isalnum((unsigned char) *end) || *end == '-' || *end == '.';)
			end++;
		while (end > at && end[-1] == '.')
			end--;
		if (start < at && end > at + 1)
			return pnstrdup(start, end - start);
	}
	return NULL;
}

/* The value of a URL's parameter, up to the next one. */
static char *
parameter_of(const char *url, const char *parameter)
{
	const char *at;

	for (at = strstr(url, parameter); at != NULL; at = strstr(at + 1, parameter))
		if (at > url && (at[-1] == '?' || at[-1] == '&'))
			return trimmed(at + strlen(parameter), strcspn(at + strlen(parameter), "&#"));
	return NULL;
}

/* What is at a place of one source; *found is set if there is a text or number there, or null. */
static char *
text_in(const JsonbValue *source, const Place *place, bool *found)
{
	char *text = NULL;

	for (int i = 0; i < place->n_parts; i++)
	{
		const JsonbValue *value = find_path(source, &place->parts[i]);
		char			 *part = value_text(value);

		if (value != NULL && value->type <= jbvNumeric)
			*found = true;
		if (part != NULL)
			text = text == NULL ? part : psprintf("%s %s", text, part);
	}
	if (text != NULL && place->parameter != NULL)
		return parameter_of(text, place->parameter);
	if (text != NULL && place->has_address)
		return address_within(text);
	return text;
}

/* How long the first one of several mailboxes is; a comma may as well stand in a name. */
static size_t
first_mailbox(const char *text)
{
	bool   is_quoted = false, has_at = false;
	size_t i;

	for (i = 0; text[i] != '\0'; i++)
		if (is_quoted && text[i] == '\\' && text[i + 1] != '\0')
			i++;
		else if (text[i] == '"')
			is_quoted = !is_quoted;
		else if (!is_quoted && text[i] == '@')
			has_at = true;
		else if (!is_quoted && has_at && (text[i] == ',' || text[i] == ';'))
			break;
	return i;
}

/* The word with an @ in a text; NULL: there is none that could be an address. */
static char *
bare_address(const char *text, size_t length)
{
	const char *end = text + length;
	const char *at = memchr(text, '@', length);
	const char *start = at, *stop = at;

	if (at == NULL)
		return NULL;
	while (start > text && !is_space(start[-1]))
		start--;
	while (stop < end && !is_space(*stop))
		stop++;
	return start < at && stop > at + 1 ? pnstrdup(start, stop - start) : NULL;
}

/* The name before an address: without its quotes and the backslashes in them. */
static char *
bare_name(const char *text, size_t length)
{
	char  *name = trimmed(text, length);
	size_t end = name == NULL ? 0 : strlen(name);
	char  *out = name;

	if (end < 2 || name[0] != '"' || name[end - 1] != '"')
		return name;
	for (size_t i = 1; i < end - 1; i++)
	{
		if (name[i] == '\\' && i + 1 < end - 1)
			i++;
		*out++ = name[i];
	}
	return trimmed(name, out - name);
}

/* "Name <address>" apart, the first one of several; without brackets it is an address. */
static void
split_address(const char *text, char **name, char **address)
{
	char	   *mailbox = pnstrdup(text, first_mailbox(text));
	const char *open = strrchr(mailbox, '<');
	const char *close = open == NULL ? NULL : strchr(open, '>');

	*name = NULL;
	if (close == NULL)
	{
		*address = bare_address(mailbox, strlen(mailbox));
		return;
	}
	*address = bare_address(open + 1, close - open - 1);
	*name = bare_name(mailbox, open - mailbox);
}

/* A whole number from a number or from digits in a string; "7.0" is one. */
static bool
whole_number(const char *text, int64 *number)
{
	char *end;

	errno = 0;
	*number = strtoll(text, &end, 10);
	if (errno != 0 || end == text)
		return false;
	if (*end == '.')
		end += 1 + strspn(end + 1, "0");
	while (is_space(*end))
		end++;
	return *end == '\0';
}

/* Seconds, or thousandths or millionths, since 1970. False: no number, or none that can be meant. */
static bool
unix_time(const char *text, TimestampTz *when)
{
	double number;

	if (text[strspn(text, "0123456789.")] != '\0')
		return false;
	number = strtod(text, NULL);
	if (number < 1e8 || number > 1e17)
		return false;
	if (number > 1e14)
		*when = (int64) number - UNIX_TO_POSTGRES_S * USECS_PER_SEC;
	else if (number > 1e11)
		*when = ((int64) number - UNIX_TO_POSTGRES_S * 1000) * 1000;
	else
		*when = (int64) rint(number * USECS_PER_SEC) - UNIX_TO_POSTGRES_S * USECS_PER_SEC;
	return true;
}

static bool
read_time(const char *text, TimestampTz *when)
{
	char *bare = trimmed(text, strlen(text));

	if (bare == NULL)
		return false;
	return unix_time(bare, when) || (sl_parse_timestamptz(bare, when) && IS_VALID_TIMESTAMP(*when));
}

/* Keeps what a text says as a field of the event. False: it is nothing of the sort. */
static bool
keep(SlEvent *event, const SlField *field, char *text)
{
	void *where = (char *) event + field->offset;
	char *name, *address;

	switch (field->reading)
	{
		case SL_READ_NUMBER:
			return ((SlNumber *) where)->given = whole_number(text, &((SlNumber *) where)->value);
		case SL_READ_TIME:
			return ((SlTime *) where)->given = read_time(text, &((SlTime *) where)->value);
		case SL_READ_ADDRESS:
		case SL_READ_OTHERS_ADDRESS:
			split_address(text, &name, &address);
			if (field->reading == SL_READ_OTHERS_ADDRESS && address != NULL &&
				event->from_email != NULL && pg_strcasecmp(address, event->from_email) == 0)
				address = NULL;
			*(char **) where = address;
			return address != NULL;
		case SL_READ_NAME:
			split_address(text, &name, &address);
			*(char **) where = name;
			return name != NULL;
		default:
			*(char **) where = text;
			return true;
	}
}

/* Tries a field's places. True: that was the last word on it. */
static bool
read_field(const Sources *sources, SlEvent *event, const SlField *field, const PlaceList *list)
{
	for (int i = 0; i < list->n; i++)
	{
		const JsonbValue *const in[] = {sources->payload, sources->inner};
		const Place			   *place = &list->places[i];

		for (int j = 0; j < lengthof(in) && in[j] != NULL; j++)
		{
			bool  found = false;
			char *text = text_in(in[j], place, &found);

			if (text != NULL && !place->is_only_null && keep(event, field, text))
				return true;
			if (found && text == NULL && (place->is_last_word || place->is_only_null))
				return true;
		}
	}
	return false;
}

static char *
first_text(const JsonbValue *source, const PlaceList *list)
{
	for (int i = 0; i < list->n; i++)
	{
		bool  found = false;
		char *text = text_in(source, &list->places[i], &found);

		if (text != NULL)
			return text;
	}
	return NULL;
}

/* ---- kinds ---- */

static bool
is_separator(char c)
{
	return is_space(c) || c == '_' || c == '-' || c == '.';
}

/* Does the text spell the name, which ends with a blank or the string? */
static bool
spells(const char *text, const char *name)
{
	for (;; text++, name++)
	{
		while (is_separator(*text))
			text++;
		while (*name == '_')
			name++;
		if (*name == '\0' || *name == ' ')
			return *text == '\0';
		if (pg_ascii_toupper((unsigned char) *text) != (unsigned char) *name)
			return false;
	}
}

/* The first spelling of a kind. */
static const char *
kind_name(SlEventKind kind)
{
	static char names[SL_N_KINDS][48];

	for (const SlKindSpelling *known = sl_kind_spellings; known->spellings != NULL; known++)
		if (known->kind == kind && names[kind][0] == '\0')
			memcpy(names[kind], known->spellings, strcspn(known->spellings, " "));
	return kind == SL_UNKNOWN_KIND ? NULL : names[kind];
}

/* An unknown type, as if it were one of Smartlead's: in capitals, with underscores. */
static char *
capitals(const char *text)
{
	char *copy = trimmed(text, strlen(text));

	for (char *c = copy; c != NULL && *c != '\0'; c++)
		*c = is_separator(*c) ? '_' : pg_ascii_toupper((unsigned char) *c);
	return copy;
}

const char *
sl_event_kind(const char *event_type, SlEventKind *kind)
{
	*kind = SL_UNKNOWN_KIND;
	if (event_type == NULL)
		return NULL;
	for (const SlKindSpelling *known = sl_kind_spellings; known->spellings != NULL; known++)
		for (const char *name = known->spellings; name != NULL; name = strchr(name, ' '))
		{
			name += *name == ' ';
			if (!spells(event_type, name))
				continue;
			*kind = known->kind;
			return kind_name(known->kind);
		}
	return capitals(event_type);
}

/* What a payload is about that tells no type. */
static SlEventKind
marked_kind(const JsonbValue *payload)
{
	bool found = false;

	for (int i = 0; sl_kind_marks[i].place != NULL; i++)
		if (text_in(payload, &mark_places[i].places[0], &found) != NULL)
			return sl_kind_marks[i].kind;
	return SL_UNKNOWN_KIND;
}

/* The kind of a payload; *type is what it says, or NULL. */
static const char *
payload_kind(const JsonbValue *payload, char **type, SlEventKind *kind)
{
	const char *name;

	*type = first_text(payload, &type_places);
	name = sl_event_kind(*type, kind);
	if (name != NULL)
		return name;
	*kind = marked_kind(payload);
	return kind_name(*kind);
}

/* ---- envelopes ---- */

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
	char *copy = trimmed(text->val.string.val, text->val.string.len);
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
is_in_base64(const JsonbValue *object)
{
	const Key	mark = {sl_base64_mark, strlen(sl_base64_mark)};
	JsonbValue *told = find_member(object, &mark);

	return told != NULL && told->type == jbvBool && told->val.boolean;
}

/* A member, opened if it is a text; NULL: neither an object nor a list. */
static JsonbValue *
open_member(const JsonbValue *object, const Path *path)
{
	JsonbValue *member = find_member(object, &path->keys[0]);

	if (member != NULL && member->type == jbvString)
		member = is_in_base64(object) ? open_base64(member) : open_text(member);
	if (member == NULL || (member->type != jbvObject && member->type != jbvArray))
		return NULL;
	return member;
}

/* What the first of an event's envelopes holds; NULL: there is none. */
static JsonbValue *
open_envelope(const JsonbValue *payload)
{
	JsonbValue *inner = NULL;

	for (int i = 0; i < envelope_places.n && inner == NULL; i++)
		inner = open_member(payload, &envelope_places.places[i].parts[0]);
	return inner;
}

/*
 * Is what an envelope would hold rather the event than the envelope itself? When it is of a known
 * kind; or when only it has a type; or when neither has, but it is the body of a request.
 */
static bool
is_event_within(const JsonbValue *inner, const char *outer_type, bool is_body)
{
	const JsonbValue *event = first_of(inner);
	SlEventKind		  kind;
	char			 *type;

	if (event == NULL || event->type != jbvObject)
		return false;
	payload_kind(event, &type, &kind);
	if (kind != SL_UNKNOWN_KIND)
		return true;
	return outer_type == NULL && (type != NULL || (is_body && inner->type == jbvObject));
}

/* What is inside the envelope that an automation tool has put around the event; NULL: there is none. */
static JsonbValue *
unwrap(const JsonbValue *payload)
{
	SlEventKind kind;
	char	   *type;

	if (payload->type != jbvObject)
		return NULL;
	payload_kind(payload, &type, &kind);
	if (kind != SL_UNKNOWN_KIND)
		return NULL;
	for (int i = 0; i < envelope_places.n; i++)
	{
		JsonbValue *inner = open_member(payload, &envelope_places.places[i].parts[0]);

		if (inner != NULL && is_event_within(inner, type, i == 0))
			return inner;
	}
	return NULL;
}

/* The events that are being gathered. */
typedef struct Gathering
{
	SlPayload *payloads;
	int		   n, capacity;
} Gathering;

static void gather_list(Gathering *gathering, JsonbValue *list, const char *secret_key, int depth);

static void
gather_one(Gathering *gathering, JsonbValue *value, const char *secret_key)
{
	if (gathering->n == gathering->capacity)
	{
		gathering->capacity *= 2;
		gathering->payloads =
			repalloc(gathering->payloads, sizeof(SlPayload) * gathering->capacity);
	}
	gathering->payloads[gathering->n].value = value;
	gathering->payloads[gathering->n++].secret_key = secret_key;
}

/* An event, or an envelope or several with one or a list in it. The innermost secret counts. */
static void
gather(Gathering *gathering, JsonbValue *value, const char *secret_key, int depth)
{
	char	   *secret = value->type == jbvObject ? first_text(value, &secret_places) : NULL;
	JsonbValue *inner = depth < MAX_ENVELOPES ? unwrap(value) : NULL;

	if (secret != NULL)
		secret_key = secret;
	if (inner == NULL)
		gather_one(gathering, value, secret_key);
	else if (inner->type == jbvObject)
		gather(gathering, inner, secret_key, depth + 1);
	else
		gather_list(gathering, inner, secret_key, depth + 1);
}

static void
gather_list(Gathering *gathering, JsonbValue *list, const char *secret_key, int depth)
{
	if (gathering->n + list->val.array.nElems > MAX_EVENTS)
		gather_one(gathering, list, secret_key);
	else
		for (int i = 0; i < list->val.array.nElems; i++)
			gather(gathering, &list->val.array.elems[i], secret_key, depth);
}

/* ---- the public surface ---- */

int
sl_payload_split(JsonbValue *whole, SlPayload **payloads)
{
	Gathering	gathering = {palloc(sizeof(SlPayload) * 4), 0, 4};
	JsonbValue *opened;

	make_ready();
	if (whole->type == jbvString && (opened = open_text(whole)) != NULL)
		whole = opened;
	if (whole->type == jbvArray)
		gather_list(&gathering, whole, NULL, 0);
	else
		gather(&gathering, whole, NULL, 0);
	*payloads = gathering.payloads;
	return gathering.n;
}

void
sl_payload_read(const SlPayload *payload, SlEvent *event)
{
	Sources sources = {payload->value, NULL};
	size_t	last_offset = 0;
	bool	is_done = false;

	make_ready();
	memset(event, 0, sizeof(SlEvent));
	event->secret_key = payload->secret_key;
	sl_secrets_leave_out(payload->value);
	if (payload->value->type == jbvObject)
	{
		sources.inner = open_envelope(payload->value);
		event->kind_name = payload_kind(payload->value, &event->event_type, &event->kind);
		for (int i = 0; sl_fields[i].places != NULL; i++)
		{
			const SlField *field = &sl_fields[i];

			if (i > 0 && field->offset == last_offset && is_done)
				continue;
			last_offset = field->offset;
			is_done = (field->kinds & (UINT32_C(1) << event->kind)) != 0 &&
					  read_field(&sources, event, field, &field_places[i]);
			if (is_done && field->is_own_message)
				event->has_own_message = true;
		}
		if (event->sequence_number.value != (int32) event->sequence_number.value)
			event->sequence_number.given = false;
	}
	event->payload = JsonbValueToJsonb(payload->value);
}
