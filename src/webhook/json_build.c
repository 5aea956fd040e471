/*
 * webhook/json_build.c
 *		From a body that is known to be JSON to a jsonb.
 *
 * The server's own parser checks again what the guard has checked, and copies each string byte by byte;
 * it was a sixth of what an event costs. Here strings without escapes are taken where they are.
 * Only for databases in UTF-8: elsewhere, the server's parser converts.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/numeric.h"

#include "webhook/webhook.h"

/* The text from here on; the guard has seen that it ends where JSON ends. */
typedef struct Builder
{
	const char		*at;
	JsonbParseState *state;
} Builder;

static JsonbValue *build_value(Builder *builder, JsonbIteratorToken as);

static char
next(Builder *builder)
{
	while (*builder->at == ' ' || *builder->at == '\n' || *builder->at == '\t' ||
		   *builder->at == '\r')
		builder->at++;
	return *builder->at;
}

/* How many bytes up to the next quote or backslash. */
static size_t
plain_length(const char *text)
{
	const char *end = text;

	while (*end != '"' && *end != '\\')
		end++;
	return end - text;
}

static int
hex4(const char *digits)
{
	char copy[5] = {digits[0], digits[1], digits[2], digits[3], '\0'};

	return (int) strtol(copy, NULL, 16);
}

/* After \u: the character as UTF-8. Surrogates come in pairs, the guard has seen to that. */
static char *
unescape_unicode(Builder *builder, char *out)
{
	pg_wchar c = hex4(builder->at);

	builder->at += 4;
	if (c >= 0xd800 && c <= 0xdbff)
	{
		c = 0x10000 + ((c & 0x3ff) << 10) + (hex4(builder->at + 2) & 0x3ff);
		builder->at += 6;
	}
	unicode_to_utf8(c, (unsigned char *) out);
	return out + pg_utf_mblen((unsigned char *) out);
}

/* After a backslash. */
static char *
unescape(Builder *builder, char *out)
{
	char c = *builder->at++;

	switch (c)
	{
		case 'b':
			c = '\b';
			break;
		case 'f':
			c = '\f';
			break;
		case 'n':
			c = '\n';
			break;
		case 'r':
			c = '\r';
			break;
		case 't':
			c = '\t';
			break;
		case 'u':
			return unescape_unicode(builder, out);
		default:
			break;
	}
	*out = c;
	return out + 1;
}

/* At its opening quote. An escape is never shorter than what it stands for. */
static void
build_string(Builder *builder, JsonbValue *value)
{
	const char *start = ++builder->at;
	size_t		plain = plain_length(start);
	const char *end = start + plain;
	char	   *copy, *out;

	value->type = jbvString;
	if (*end == '"')
	{
		builder->at = end + 1;
		value->val.string.val = (char *) start;
		value->val.string.len = plain;
		return;
	}
	while (*end != '"')
		end += *end == '\\' ? 2 : 1;
	copy = out = palloc(end - start);
	while (builder->at < end)
	{
		plain = plain_length(builder->at);
		memcpy(out, builder->at, plain);
		out += plain;
		builder->at += plain;
		if (*builder->at == '\\')
		{
			builder->at++;
			out = unescape(builder, out);
		}
	}
	builder->at = end + 1;
	value->val.string.val = copy;
	value->val.string.len = out - copy;
}

static void
build_number(Builder *builder, JsonbValue *value)
{
	size_t length = strspn(builder->at, "+-.0123456789eE");
	char  *digits = pnstrdup(builder->at, length);

	value->type = jbvNumeric;
	value->val.numeric = DatumGetNumeric(DirectFunctionCall3(
		numeric_in, CStringGetDatum(digits), ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
	builder->at += length;
}

static void
build_scalar(Builder *builder, JsonbValue *value)
{
	switch (*builder->at)
	{
		case '"':
			build_string(builder, value);
			break;
		case 't':
		case 'f':
			value->type = jbvBool;
			value->val.boolean = *builder->at == 't';
			builder->at += value->val.boolean ? 4 : 5;
			break;
		case 'n':
			value->type = jbvNull;
			builder->at += 4;
			break;
		default:
			build_number(builder, value);
			break;
	}
}

static JsonbValue *
build_object(Builder *builder)
{
	JsonbValue name;

	builder->at++;
	pushJsonbValue(&builder->state, WJB_BEGIN_OBJECT, NULL);
	while (next(builder) != '}')
	{
		if (*builder->at == ',')
		{
			builder->at++;
			continue;
		}
		build_string(builder, &name);
		pushJsonbValue(&builder->state, WJB_KEY, &name);
		next(builder);
		builder->at++; /* the colon */
		build_value(builder, WJB_VALUE);
	}
	builder->at++;
	return pushJsonbValue(&builder->state, WJB_END_OBJECT, NULL);
}

static JsonbValue *
build_array(Builder *builder)
{
	builder->at++;
	pushJsonbValue(&builder->state, WJB_BEGIN_ARRAY, NULL);
	while (next(builder) != ']')
	{
		if (*builder->at == ',')
			builder->at++;
		else
			build_value(builder, WJB_ELEM);
	}
	builder->at++;
	return pushJsonbValue(&builder->state, WJB_END_ARRAY, NULL);
}

/* The guard has limited the depth. */
static JsonbValue *
build_value(Builder *builder, JsonbIteratorToken as)
{
	JsonbValue value;

	switch (next(builder))
	{
		case '{':
			return build_object(builder);
		case '[':
			return build_array(builder);
		default:
			build_scalar(builder, &value);
			return pushJsonbValue(&builder->state, as, &value);
	}
}

/* jsonb keeps a lone scalar in an array of its own kind. */
static JsonbValue *
build_lone_scalar(Builder *builder)
{
	JsonbValue array = {.type = jbvArray}, value;

	array.val.array.rawScalar = true;
	array.val.array.nElems = 1;
	pushJsonbValue(&builder->state, WJB_BEGIN_ARRAY, &array);
	build_scalar(builder, &value);
	pushJsonbValue(&builder->state, WJB_ELEM, &value);
	return pushJsonbValue(&builder->state, WJB_END_ARRAY, NULL);
}

Jsonb *
sl_json_build(const char *text, size_t length)
{
	Builder builder = {text, NULL};
	char	first;

	if (GetDatabaseEncoding() != PG_UTF8)
		return DatumGetJsonbP(DirectFunctionCall1(
			jsonb_in, CStringGetDatum(pg_any_to_server(text, length, PG_UTF8))));
	first = next(&builder);
	return JsonbValueToJsonb(first == '{' || first == '[' ? build_value(&builder, WJB_ELEM)
														  : build_lone_scalar(&builder));
}
