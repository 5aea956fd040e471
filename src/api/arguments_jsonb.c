/*
 * api/arguments_jsonb.c
 *		The arguments of one call from a JSON object, as jobs of the queue carry them.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

#include "api/arguments.h"

static const char *
type_name(SlParamType type)
{
	switch (type)
	{
		case SL_BIGINT:
		case SL_INTEGER:
		case SL_BIGINT_AS_LIST:
			return "a whole number";
		case SL_NUMERIC:
			return "a number";
		case SL_TEXT:
		case SL_TEXT_AS_LIST:
			return "a text";
		case SL_BOOLEAN:
			return "true or false";
		case SL_TIMESTAMP:
			return "a time, as a text";
		case SL_DATE:
			return "a date, as a text";
		case SL_OBJECT:
			return "an object";
		case SL_ARRAY:
			return "an array";
		case SL_BIGINTS:
		case SL_INTEGERS:
			return "an array of whole numbers";
		case SL_TEXTS:
			return "an array of texts";
	}
	return "a value";
}

pg_noreturn static void
raise_mistyped(const SlArguments *arguments, int param)
{
	const SlParam *declared = &arguments->endpoint->params[param];

	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("argument \"%s\" of \"%s\" has the wrong type", declared->name,
						   arguments->endpoint->name),
					errdetail("It must be %s.", type_name(declared->type))));
}

/* A whole number, or a text with the digits of one: ids come as both in events. */
static bool
read_bigint(const JsonbValue *value, int64 *number)
{
	char *text;
	char *end;

	if (value->type == jbvNumeric)
		text =
			DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(value->val.numeric)));
	else if (value->type == jbvString)
		text = pnstrdup(value->val.string.val, value->val.string.len);
	else
		return false;
	if (text[0] != '-' && (text[0] < '0' || text[0] > '9'))
		return false;
	errno = 0;
	*number = strtoll(text, &end, 10);
	return errno == 0 && end > text && *end == '\0';
}

static bool
read_text(const JsonbValue *value, Datum *text)
{
	if (value->type != jbvString)
		return false;
	*text = PointerGetDatum(cstring_to_text_with_len(value->val.string.val, value->val.string.len));
	return true;
}

/* One value of a type that a text, a number or a list of them has. */
static bool
read_scalar(const JsonbValue *value, Oid type, Datum *datum)
{
	int64 number;

	if (type == TEXTOID)
		return read_text(value, datum);
	if (!read_bigint(value, &number) || (type == INT4OID && number != (int32) number))
		return false;
	*datum = type == INT4OID ? Int32GetDatum((int32) number) : Int64GetDatum(number);
	return true;
}

/* An array of texts or of whole numbers. */
static bool
read_list(const JsonbValue *value, Oid type, Datum *list)
{
	ArrayBuildState	  *state = NULL;
	JsonbIterator	  *iterator;
	JsonbIteratorToken token;
	JsonbValue		   element;

	if (value->type != jbvBinary || !JsonContainerIsArray(value->val.binary.data) ||
		JsonContainerSize(value->val.binary.data) == 0)
		return false;
	iterator = JsonbIteratorInit(value->val.binary.data);
	while ((token = JsonbIteratorNext(&iterator, &element, true)) != WJB_DONE)
	{
		Datum datum;

		if (token != WJB_ELEM)
			continue;
		if (!read_scalar(&element, type, &datum))
			return false;
		state = accumArrayResult(state, datum, false, type, CurrentMemoryContext);
	}
	*list = makeArrayResult(state, CurrentMemoryContext);
	return true;
}

/* An object or an array as it is. */
static bool
read_jsonb(const JsonbValue *value, bool array, Datum *jsonb)
{
	if (value->type != jbvBinary || JsonContainerIsArray(value->val.binary.data) != array)
		return false;
	*jsonb = JsonbPGetDatum(JsonbValueToJsonb((JsonbValue *) value));
	return true;
}

static bool
read_numeric(const JsonbValue *value, Datum *number)
{
	if (value->type != jbvNumeric)
		return false;
	*number = NumericGetDatum(value->val.numeric);
	return true;
}

/* A time or a date, by the input function of its type. */
static bool
read_time(const JsonbValue *value, PGFunction in, Datum *time)
{
	if (value->type != jbvString)
		return false;
	*time = DirectFunctionCall3(
		in, CStringGetDatum(pnstrdup(value->val.string.val, value->val.string.len)),
		ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));
	return true;
}

static void
set_value(SlArguments *arguments, int param, const JsonbValue *value)
{
	Datum datum = (Datum) 0;
	bool  fits = false;
	Oid	  type = InvalidOid;

	switch (arguments->endpoint->params[param].type)
	{
		case SL_BIGINT:
		case SL_BIGINT_AS_LIST:
			type = INT8OID;
			fits = read_scalar(value, type, &datum);
			break;
		case SL_INTEGER:
			type = INT4OID;
			fits = read_scalar(value, type, &datum);
			break;
		case SL_NUMERIC:
			type = NUMERICOID;
			fits = read_numeric(value, &datum);
			break;
		case SL_TEXT:
		case SL_TEXT_AS_LIST:
			type = TEXTOID;
			fits = read_scalar(value, type, &datum);
			break;
		case SL_BOOLEAN:
			type = BOOLOID;
			fits = value->type == jbvBool;
			datum = BoolGetDatum(fits && value->val.boolean);
			break;
		case SL_TIMESTAMP:
			type = TIMESTAMPTZOID;
			fits = read_time(value, timestamptz_in, &datum);
			break;
		case SL_DATE:
			type = DATEOID;
			fits = read_time(value, date_in, &datum);
			break;
		case SL_OBJECT:
		case SL_ARRAY:
			type = JSONBOID;
			fits = read_jsonb(value, arguments->endpoint->params[param].type == SL_ARRAY, &datum);
			break;
		case SL_BIGINTS:
			type = INT8ARRAYOID;
			fits = read_list(value, INT8OID, &datum);
			break;
		case SL_INTEGERS:
			type = INT4ARRAYOID;
			fits = read_list(value, INT4OID, &datum);
			break;
		case SL_TEXTS:
			type = TEXTARRAYOID;
			fits = read_list(value, TEXTOID, &datum);
			break;
	}
	if (!fits)
		raise_mistyped(arguments, param);
	sl_arguments_set(arguments, param, datum, type);
}

void
sl_arguments_set_jsonb(SlArguments *arguments, Jsonb *object)
{
	JsonbIterator	  *iterator = JsonbIteratorInit(&object->root);
	JsonbIteratorToken token;
	JsonbValue		   value;
	int				   param = -1;

	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
		{
			char *name = pnstrdup(value.val.string.val, value.val.string.len);

			param = sl_endpoint_param(arguments->endpoint, name);
			if (param < 0)
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						 errmsg("\"%s\" has no argument \"%s\"", arguments->endpoint->name, name)));
		}
		else if (token == WJB_VALUE && value.type != jbvNull)
			set_value(arguments, param, &value);
	}
}
