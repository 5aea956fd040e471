/*
 * json/value.c
 *		Single nodes of a cJSON tree as PostgreSQL's values; whole trees as jsonb.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include <math.h>

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/numeric.h"

#include "json/json.h"

/* Of a number that is shown in a message. */
#define NUMBER_SHOWN 40

/* Smartlead speaks UTF-8; the database may not. */
static char *
to_server(const char *utf8)
{
	return pg_any_to_server(utf8, strlen(utf8), PG_UTF8);
}

bool
sl_json_is_number(const cJSON *node)
{
	return cJSON_IsNumber(node) || cJSON_IsRaw(node);
}

char *
sl_json_number_shown(const char *number)
{
	size_t length = strspn(number, "+-.0123456789eE");

	if (length > NUMBER_SHOWN)
		return psprintf("%.*s...", NUMBER_SHOWN, number);
	return pnstrdup(number, length);
}

/* A cJSON_Number is whole and short, see sl_json_parse(). */
static char *
number_text(const cJSON *node)
{
	return cJSON_IsRaw(node) ? node->valuestring
							 : psprintf(INT64_FORMAT, (int64) node->valuedouble);
}

char *
sl_json_scalar_text(const cJSON *node)
{
	if (cJSON_IsString(node))
		return to_server(node->valuestring);
	if (cJSON_IsBool(node))
		return cJSON_IsTrue(node) ? "true" : "false";
	return number_text(node);
}

/* "50.0" and "5e1" of a number are whole numbers. Not so of a text, which isn't one to begin with. */
static bool
whole_raw(const char *number, int64 *value)
{
	double exact = strtod(number, NULL);

	*value = 0;
	if (strlen(number) > SL_JSON_EXACT_LENGTH || exact != floor(exact) || fabs(exact) >= 1e15)
		return false;
	*value = (int64) exact;
	return true;
}

bool
sl_json_bigint(const cJSON *node, int64 *value)
{
	const char *text;
	char	   *end;

	if (cJSON_IsNumber(node))
	{
		*value = (int64) node->valuedouble;
		return true;
	}
	if (!cJSON_IsString(node) && !cJSON_IsRaw(node))
		return false;
	text = node->valuestring;
	if (text[0] != '-' && (text[0] < '0' || text[0] > '9'))
		return false;
	errno = 0;
	*value = strtoll(text, &end, 10);
	if (errno == 0 && end > text && *end == '\0')
		return true;
	return cJSON_IsRaw(node) && errno == 0 && whole_raw(text, value);
}

const cJSON *
sl_json_member(const cJSON *object, const char *name)
{
	const cJSON *member, *found = NULL;

	if (cJSON_IsObject(object))
		cJSON_ArrayForEach (member, object)
			if (strcmp(member->string, name) == 0)
				found = member;
	return found;
}

static bool
names_password(const char *name)
{
	size_t length = name != NULL ? strlen(name) : 0;

	return length >= 8 && pg_strcasecmp(name + length - 8, "password") == 0;
}

void
sl_json_drop_passwords(cJSON *node)
{
	cJSON *child = node->child;

	while (child != NULL)
	{
		cJSON *next = child->next;

		CHECK_FOR_INTERRUPTS();
		if (names_password(child->string))
			cJSON_DetachItemViaPointer(node, child);
		else
			sl_json_drop_passwords(child);
		child = next;
	}
}

/* ---- whole trees ---- */

static JsonbValue *push_node(JsonbParseState **state, const cJSON *node, JsonbIteratorToken as);

static void
set_string(JsonbValue *value, const char *utf8)
{
	value->type = jbvString;
	value->val.string.val = to_server(utf8);
	value->val.string.len = strlen(value->val.string.val);
}

static void
set_scalar(JsonbValue *value, const cJSON *node)
{
	if (cJSON_IsString(node))
		set_string(value, node->valuestring);
	else if (cJSON_IsBool(node))
	{
		value->type = jbvBool;
		value->val.boolean = cJSON_IsTrue(node);
	}
	else if (cJSON_IsNumber(node))
	{
		value->type = jbvNumeric;
		value->val.numeric = sl_int64_numeric((int64) node->valuedouble);
	}
	else if (cJSON_IsRaw(node))
	{
		value->type = jbvNumeric;
		value->val.numeric =
			DatumGetNumeric(DirectFunctionCall3(numeric_in, CStringGetDatum(node->valuestring),
												ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
	}
	else
		value->type = jbvNull;
}

static JsonbValue *
push_container(JsonbParseState **state, const cJSON *node)
{
	bool		 is_object = cJSON_IsObject(node);
	const cJSON *child;

	pushJsonbValue(state, is_object ? WJB_BEGIN_OBJECT : WJB_BEGIN_ARRAY, NULL);
	cJSON_ArrayForEach (child, node)
	{
		CHECK_FOR_INTERRUPTS();
		if (is_object)
		{
			JsonbValue key;

			set_string(&key, child->string);
			pushJsonbValue(state, WJB_KEY, &key);
		}
		push_node(state, child, is_object ? WJB_VALUE : WJB_ELEM);
	}
	return pushJsonbValue(state, is_object ? WJB_END_OBJECT : WJB_END_ARRAY, NULL);
}

static JsonbValue *
push_node(JsonbParseState **state, const cJSON *node, JsonbIteratorToken as)
{
	JsonbValue value;

	if (cJSON_IsObject(node) || cJSON_IsArray(node))
		return push_container(state, node);
	set_scalar(&value, node);
	return pushJsonbValue(state, as, &value);
}

Jsonb *
sl_json_to_jsonb(const cJSON *node)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext values = AllocSetContextCreate(caller, "smartlead values", ALLOCSET_SMALL_SIZES);
	JsonbParseState *state = NULL;
	JsonbValue		 scalar;
	JsonbValue		*root = &scalar;
	Jsonb			*result;

	/* The values are much larger than what they are packed into. */
	MemoryContextSwitchTo(values);
	if (cJSON_IsObject(node) || cJSON_IsArray(node))
		root = push_container(&state, node);
	else
		set_scalar(&scalar, node);
	MemoryContextSwitchTo(caller);
	result = JsonbValueToJsonb(root);
	MemoryContextDelete(values);
	return result;
}

/* An object that is being made of some members of another: the column "extra". */
void
sl_json_push_member(JsonbParseState **state, const cJSON *member)
{
	JsonbValue key;

	if (*state == NULL)
		pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
	set_string(&key, member->string);
	pushJsonbValue(state, WJB_KEY, &key);
	push_node(state, member, WJB_VALUE);
}
