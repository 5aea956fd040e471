/*
 * queue/template.c
 *		An automation's arguments and condition, applied to an event.
 *
 * A text that begins with $ is a jsonpath into the payload, in which the event's columns are
 * variables: "$lead_id" and "$.link_details[0]" need no syntax of their own.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "queue/automation.h"

/* jsonb_path_query_first(payload, path, columns, silent); NULL: nothing found. */
static Jsonb *
query_first(Datum path, const SlTemplateSource *source, bool silent)
{
	LOCAL_FCINFO(call, 4);
	Datum found;

	InitFunctionCallInfoData(*call, NULL, 4, InvalidOid, NULL, NULL);
	call->args[0].value = JsonbPGetDatum(source->payload);
	call->args[1].value = path;
	call->args[2].value = JsonbPGetDatum(source->columns);
	call->args[3].value = BoolGetDatum(silent);
	for (int i = 0; i < 4; i++)
		call->args[i].isnull = false;
	found = jsonb_path_query_first(call);
	return call->isnull ? NULL : DatumGetJsonbP(found);
}

static bool
is_template(const JsonbValue *value)
{
	return value->type == jbvString && value->val.string.len > 0 && value->val.string.val[0] == '$';
}

/* What a jsonb holds, as a value to be pushed into another one. */
static void
value_of(Jsonb *json, JsonbValue *value)
{
	if (json == NULL)
		value->type = jbvNull;
	else if (!JB_ROOT_IS_SCALAR(json) || !JsonbExtractScalar(&json->root, value))
	{
		value->type = jbvBinary;
		value->val.binary.data = &json->root;
		value->val.binary.len = VARSIZE(json) - VARHDRSZ;
	}
}

/* ---- the names of columns ---- */

/* A name in quotes as jsonpath_out() writes it, from after the opening quote on; *text moves past it. */
static char *
quoted_name(const char **text)
{
	StringInfoData name;

	initStringInfo(&name);
	for (; **text != '\0' && **text != '"'; (*text)++)
	{
		if (**text == '\\' && (*text)[1] != '\0')
			(*text)++;
		appendStringInfoChar(&name, **text);
	}
	if (**text == '"')
		(*text)++;
	return name.data;
}

static void
check_column(const char *name, Jsonb *columns)
{
	JsonbValue key = {.type = jbvString};

	key.val.string.val = unconstify(char *, name);
	key.val.string.len = strlen(name);
	if (findJsonbValueFromContainer(&columns->root, JB_FOBJECT, &key) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("\"$%s\" is no column of smartlead_events", name),
				 strcmp(name, "payload") == 0
					 ? errhint("A value of the payload is written \"$.name\".")
					 : errhint("\"$name\" stands for a column, \"$.name\" for a value of the "
							   "payload; {\"value\": \"$...\"} keeps a text that begins with $.")));
}

/* In a path's own spelling a variable is $"name"; what else is in quotes is a key or a text. */
static void
check_variables(Datum path, Jsonb *columns)
{
	const char *text = DatumGetCString(DirectFunctionCall1(jsonpath_out, path));

	while (*text != '\0')
	{
		bool is_variable = text[0] == '$' && text[1] == '"';

		text += is_variable ? 2 : 1;
		if (is_variable)
			check_column(quoted_name(&text), columns);
		else if (text[-1] == '"')
			(void) quoted_name(&text);
	}
}

/* The columns that templates may name, as an object. */
static Jsonb *
known_columns(Oid schema)
{
	Oid type = GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid, CStringGetDatum("smartlead_event"),
							   ObjectIdGetDatum(schema));
	TupleDesc		 descriptor = lookup_rowtype_tupdesc(type, -1);
	JsonbParseState *state = NULL;
	JsonbValue		 name = {.type = jbvString}, nothing = {.type = jbvNull};

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	for (int i = 0; i < descriptor->natts; i++)
	{
		name.val.string.val = NameStr(TupleDescAttr(descriptor, i)->attname);
		name.val.string.len = strlen(name.val.string.val);
		if (strcmp(name.val.string.val, "payload") == 0)
			continue;
		pushJsonbValue(&state, WJB_KEY, &name);
		pushJsonbValue(&state, WJB_VALUE, &nothing);
	}
	ReleaseTupleDesc(descriptor);
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

void
sl_template_check_columns(Oid schema, Jsonb *args, bool has_condition, Datum condition)
{
	SlTemplateSource source = {NULL, known_columns(schema)};

	(void) sl_template_fill(args, &source);
	if (has_condition)
		check_variables(condition, source.columns);
}

/* ---- filling in ---- */

/* Puts what the path finds in the place of the text. */
static void
resolve(JsonbValue *text, const SlTemplateSource *source)
{
	Datum path = DirectFunctionCall1(
		jsonpath_in, CStringGetDatum(pnstrdup(text->val.string.val, text->val.string.len)));

	if (source != NULL && source->payload == NULL)
		check_variables(path, source->columns);
	if (source == NULL || source->payload == NULL)
		text->type = jbvNull;
	else
		value_of(query_first(path, source, true), text);
}

/* The only member of an object, if it has that name. */
static bool
only_member(const JsonbValue *object, const char *name, JsonbValue *member)
{
	JsonbContainer *container;
	JsonbValue		key;
	JsonbValue	   *found;

	if (object->type != jbvBinary || !JsonContainerIsObject(object->val.binary.data) ||
		JsonContainerSize(object->val.binary.data) != 1)
		return false;
	container = object->val.binary.data;
	key.type = jbvString;
	key.val.string.val = unconstify(char *, name);
	key.val.string.len = strlen(name);
	found = findJsonbValueFromContainer(container, JB_FOBJECT, &key);
	if (found != NULL)
		*member = *found;
	return found != NULL;
}

/* A nested value: every text in it that begins with $ is filled in. True: there was one. */
static bool
fill_nested(JsonbValue *value, const SlTemplateSource *source)
{
	JsonbParseState	  *state = NULL;
	JsonbIterator	  *iterator = JsonbIteratorInit(value->val.binary.data);
	JsonbIteratorToken token;
	JsonbValue		   part;
	JsonbValue		  *result = NULL;
	bool			   any = false;

	while ((token = JsonbIteratorNext(&iterator, &part, false)) != WJB_DONE)
	{
		if ((token == WJB_VALUE || token == WJB_ELEM) && is_template(&part))
		{
			resolve(&part, source);
			any = true;
		}
		result = pushJsonbValue(&state, token,
								token == WJB_KEY || token == WJB_VALUE || token == WJB_ELEM ? &part
																							: NULL);
	}
	value_of(JsonbValueToJsonb(result), value);
	return any;
}

/* True: it came from the event. */
static bool
fill_value(JsonbValue *value, const SlTemplateSource *source)
{
	JsonbValue member;

	if (only_member(value, "value", &member))
	{
		*value = member;
		return false;
	}
	if (only_member(value, "path", &member) && member.type == jbvString)
		*value = member;
	else if (value->type == jbvBinary)
		return fill_nested(value, source);
	else if (!is_template(value))
		return false;
	resolve(value, source);
	return true;
}

Jsonb *
sl_template_fill(Jsonb *args, const SlTemplateSource *source)
{
	JsonbParseState	  *state = NULL;
	JsonbIterator	  *iterator = JsonbIteratorInit(&args->root);
	JsonbIteratorToken token;
	JsonbValue		   value, key;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			key = value;
		if (token != WJB_VALUE)
			continue;
		if (fill_value(&value, source) && (source == NULL || source->payload == NULL))
			continue;
		pushJsonbValue(&state, WJB_KEY, &key);
		pushJsonbValue(&state, WJB_VALUE, &value);
	}
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

/* Is the path a comparison or the like? Spelt by jsonpath_out(), such a one is in parentheses. */
static bool
is_predicate(Datum path)
{
	const char *text = DatumGetCString(DirectFunctionCall1(jsonpath_out, path));

	if (strncmp(text, "strict ", 7) == 0)
		text += 7;
	return *text == '(' || *text == '!';
}

bool
sl_template_matches(Datum condition, const SlTemplateSource *source)
{
	Jsonb	  *found = query_first(condition, source, false);
	JsonbValue value;

	if (found == NULL)
		return false;
	value_of(found, &value);
	if (value.type == jbvNull && is_predicate(condition))
		ereport(ERROR, (errcode(ERRCODE_DATA_EXCEPTION),
						errmsg("the condition is neither true nor false: it compares what can't be "
							   "compared, or what isn't there")));
	return value.type != jbvNull && !(value.type == jbvBool && !value.val.boolean);
}
