/*
 * webhook/place.c
 *		What stands at a place of a payload. How places are written: fields.c.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "utils/builtins.h"
#include "utils/memutils.h"

#include "webhook/payload.h"

/* ---- reading places ---- */

static void
read_path(char *text, SlPath *path)
{
	char *rest = text, *name;

	while ((name = strsep(&rest, ".")) != NULL)
	{
		if (path->n == SL_MAX_KEYS || strlen(name) > SL_LONGEST_NAME)
			elog(ERROR, "a place in a payload has too many members, or too long a name");
		path->keys[path->n] = name;
		path->lengths[path->n++] = strlen(name);
	}
}

static void
read_place(char *text, SlPlace *place)
{
	size_t length = strlen(text);
	char  *rest = text, *part;
	char  *parameter = strchr(text, '?');

	if (strchr("!~@", text[length - 1]) != NULL)
	{
		place->mark = text[length - 1];
		text[length - 1] = '\0';
	}
	if (parameter != NULL)
	{
		*parameter = '\0';
		place->parameter = psprintf("%s=", parameter + 1);
	}
	while ((part = strsep(&rest, "+")) != NULL)
	{
		if (place->n_parts == SL_MAX_PARTS)
			elog(ERROR, "a place in a payload has too many parts");
		read_path(part, &place->parts[place->n_parts++]);
	}
}

const SlPlace *
sl_places(const char *text, SlPlace **read)
{
	SlPlace		 *first = NULL, **end = &first;
	MemoryContext caller;
	char		 *rest, *place;

	if (*read != NULL)
		return *read;
	caller = MemoryContextSwitchTo(TopMemoryContext);
	for (rest = pstrdup(text); (place = strsep(&rest, " ")) != NULL; end = &(*end)->next)
		read_place(place, *end = palloc0(sizeof(SlPlace)));
	MemoryContextSwitchTo(caller);
	return *read = first;
}

/* ---- finding ---- */

/* A list's first element; anything else is itself. NULL: the list is empty. */
static const JsonbValue *
first_of(const JsonbValue *value)
{
	if (value->type != jbvArray)
		return value;
	return value->val.array.nElems > 0 ? &value->val.array.elems[0] : NULL;
}

void
sl_object_open(SlObject *object, const JsonbValue *value)
{
	int n, length = 0;

	object->value = value = first_of(value);
	n = value != NULL && value->type == jbvObject ? value->val.object.nPairs : 0;
	for (int i = 0; i < n; i++)
	{
		int limit = Min(value->val.object.pairs[i].key.val.string.len, SL_LONGEST_NAME + 1);

		while (length <= limit)
			object->first[length++] = i;
	}
	while (length < lengthof(object->first))
		object->first[length++] = n;
}

/* Those of one length are sorted by their bytes. */
JsonbValue *
sl_object_member(const SlObject *object, const char *name, int length)
{
	int low = object->first[length], high = object->first[length + 1];

	while (low < high)
	{
		int				 middle = (low + high) / 2;
		const JsonbPair *pair = &object->value->val.object.pairs[middle];
		int				 order = memcmp(name, pair->key.val.string.val, length);

		if (order == 0)
			return unconstify(JsonbValue *, &pair->value);
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}

static const JsonbValue *
find_path(const SlObject *root, const SlPath *path)
{
	const JsonbValue *value = sl_object_member(root, path->keys[0], path->lengths[0]);

	for (int i = 1; i < path->n && value != NULL; i++)
	{
		SlObject object;

		sl_object_open(&object, value);
		value = sl_object_member(&object, path->keys[i], path->lengths[i]);
	}
	return value == NULL ? NULL : first_of(value);
}

/* ---- texts ---- */

char *
sl_trimmed(const char *text, size_t length)
{
	while (length > 0 && sl_is_space(text[length - 1]))
		length--;
	while (length > 0 && sl_is_space(*text))
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
		if (!sl_is_space(c) && (c != '-' || hyphens > 2))
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

/* The value of a URL's parameter, up to the next one. */
static char *
parameter_of(const char *url, const char *parameter)
{
	const char *at;

	for (at = strstr(url, parameter); at != NULL; at = strstr(at + 1, parameter))
		if (at > url && (at[-1] == '?' || at[-1] == '&'))
			return sl_trimmed(at + strlen(parameter), strcspn(at + strlen(parameter), "&#"));
	return NULL;
}

char *
sl_text_at(const SlObject *object, const SlPlace *place, bool *found)
{
	char *text = NULL;

	for (int i = 0; i < place->n_parts; i++)
	{
		const JsonbValue *value = find_path(object, &place->parts[i]);
		char			 *part = value_text(value);

		if (value != NULL && value->type <= jbvNumeric)
			*found = true;
		if (part != NULL)
			text = text == NULL ? part : psprintf("%s %s", text, part);
	}
	if (text != NULL && place->parameter != NULL)
		return parameter_of(text, place->parameter);
	if (text != NULL && place->mark == '@')
		return sl_address_within(text);
	return text;
}

char *
sl_first_text(const SlObject *object, const SlPlace *places)
{
	bool  found = false;
	char *text = NULL;

	for (; places != NULL && text == NULL; places = places->next)
		text = sl_text_at(object, places, &found);
	return text;
}
