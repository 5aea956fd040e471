/*
 * api/arguments.c
 *		The arguments of one call, whoever gave them: SQL, a queued job, or the endpoint itself.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "api/arguments.h"

SlArguments *
sl_arguments(const SlEndpoint *endpoint)
{
	SlArguments *arguments = palloc0(offsetof(SlArguments, value) +
									 sl_endpoint_param_count(endpoint) * sizeof(SlArgument));

	arguments->endpoint = endpoint;
	return arguments;
}

static char *
json_string(const char *text)
{
	StringInfoData json;

	initStringInfo(&json);
	escape_json(&json, text);
	return json.data;
}

/* ISO 8601 in UTC with milliseconds: the form that Smartlead itself writes. */
static char *
timestamp_text(TimestampTz time)
{
	struct pg_tm tm;
	fsec_t		 fsec;

	if (TIMESTAMP_NOT_FINITE(time) || timestamp2tm(time, NULL, &tm, &fsec, NULL, NULL) != 0 ||
		tm.tm_year < 1 || tm.tm_year > 9999)
		ereport(ERROR, (errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
						errmsg("Smartlead can't be asked about this time"),
						errdetail("It must be between the years 1 and 9999.")));
	return psprintf("%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", tm.tm_year, tm.tm_mon, tm.tm_mday,
					tm.tm_hour, tm.tm_min, tm.tm_sec, (int) (fsec / 1000));
}

/* YYYY-MM-DD, whatever DateStyle is. */
static char *
date_text(DateADT date)
{
	int year, month, day;

	if (!DATE_NOT_FINITE(date))
		j2date(date + POSTGRES_EPOCH_JDATE, &year, &month, &day);
	if (DATE_NOT_FINITE(date) || year < 1 || year > 9999)
		ereport(ERROR, (errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
						errmsg("Smartlead can't be asked about this date"),
						errdetail("It must be between the years 1 and 9999.")));
	return psprintf("%04d-%02d-%02d", year, month, day);
}

/* ---- what a parameter may be ---- */

static char *
listed(const SlWord *words)
{
	StringInfoData text;

	initStringInfo(&text);
	for (; words->word != NULL; words++)
		appendStringInfo(&text, "%s%s", text.len > 0 ? ", " : "", words->word);
	return text.data;
}

pg_noreturn static void
raise_not_allowed(const SlArguments *arguments, const SlParam *param, const char *given,
				  char *allowed)
{
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("argument \"%s\" of \"%s\" must not be \"%s\"", param->name,
						   arguments->endpoint->name, given),
					errdetail("It must be %s.", allowed)));
}

/* A text as the parameter wants it. */
static char *
read_text(const SlArguments *arguments, const SlParam *param, Datum value)
{
	char *given = TextDatumGetCString(value);

	for (const SlWord *word = param->words; word != NULL && word->word != NULL; word++)
		if (strcmp(word->word, given) == 0)
			return pstrdup(word->sent);
	if (param->words != NULL)
		raise_not_allowed(arguments, param, given, psprintf("one of %s", listed(param->words)));
	return param->read != NULL ? param->read(given) : given;
}

static char *
read_number(const SlArguments *arguments, const SlParam *param, int64 number)
{
	char *given = psprintf(INT64_FORMAT, number);

	if (!param->bounded || (number >= param->low && number <= param->high))
		return given;
	if (param->high == PG_INT64_MAX)
		raise_not_allowed(arguments, param, given, psprintf("at least " INT64_FORMAT, param->low));
	if (param->low == PG_INT64_MIN)
		raise_not_allowed(arguments, param, given, psprintf("at most " INT64_FORMAT, param->high));
	raise_not_allowed(arguments, param, given,
					  psprintf("from " INT64_FORMAT " to " INT64_FORMAT, param->low, param->high));
}

/* ---- values ---- */

/* The digits; NaN and infinity are no JSON. */
static char *
numeric_text(const SlArguments *arguments, const SlParam *param, Datum value)
{
	char *text = DatumGetCString(DirectFunctionCall1(numeric_out, value));

	if (strspn(text, "-.0123456789") < strlen(text))
		raise_not_allowed(arguments, param, text, "a number");
	return text;
}

/* An element of a list, as JSON. */
static char *
read_element(const SlArguments *arguments, const SlParam *param, Datum element, Oid type)
{
	if (type == TEXTOID)
		return json_string(read_text(arguments, param, element));
	return read_number(arguments, param,
					   type == INT4OID ? DatumGetInt32(element) : DatumGetInt64(element));
}

static void
set_elements(const SlArguments *arguments, const SlParam *param, SlArgument *argument, Datum value,
			 Oid element_type)
{
	int16  length;
	bool   by_value;
	char   align;
	Datum *elements;
	bool  *nulls;
	int	   n;

	get_typlenbyvalalign(element_type, &length, &by_value, &align);
	deconstruct_array(DatumGetArrayTypeP(value), element_type, length, by_value, align, &elements,
					  &nulls, &n);
	argument->elements = palloc(sizeof(char *) * Max(n, 1));
	argument->n_elements = n;
	for (int i = 0; i < n; i++)
	{
		if (nulls[i])
			ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
							errmsg("a list for Smartlead must not hold NULL")));
		argument->elements[i] = read_element(arguments, param, elements[i], element_type);
	}
	argument->json = "[]"; /* given; the body joins the elements, in as many requests as needed */
}

static void
set_jsonb(const SlArguments *arguments, const SlParam *param, SlArgument *argument, Datum value)
{
	Jsonb *json = DatumGetJsonbP(value);
	bool   fits = param->type == SL_ARRAY ? JB_ROOT_IS_ARRAY(json) && !JB_ROOT_IS_SCALAR(json)
										  : JB_ROOT_IS_OBJECT(json);

	if (!fits)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"%s\" of \"%s\" must be a JSON %s", param->name,
						arguments->endpoint->name, param->type == SL_ARRAY ? "array" : "object")));
	argument->json = JsonbToCString(NULL, &json->root, VARSIZE(json));
}

void
sl_arguments_set(SlArguments *arguments, int param, Datum value, Oid type)
{
	const SlParam *declared = &arguments->endpoint->params[param];
	SlArgument	  *argument = &arguments->value[param];

	switch (type)
	{
		case INT4OID:
			argument->text = argument->json =
				read_number(arguments, declared, DatumGetInt32(value));
			break;
		case INT8OID:
			argument->text = argument->json =
				read_number(arguments, declared, DatumGetInt64(value));
			break;
		case NUMERICOID:
			argument->text = argument->json = numeric_text(arguments, declared, value);
			break;
		case BOOLOID:
			argument->text = argument->json = DatumGetBool(value) ? "true" : "false";
			break;
		case TEXTOID:
			argument->text = read_text(arguments, declared, value);
			argument->json = json_string(argument->text);
			break;
		case TIMESTAMPTZOID:
			argument->text = timestamp_text(DatumGetTimestampTz(value));
			argument->json = json_string(argument->text);
			break;
		case DATEOID:
			argument->text = date_text(DatumGetDateADT(value));
			argument->json = json_string(argument->text);
			break;
		case JSONBOID:
			set_jsonb(arguments, declared, argument, value);
			break;
		case INT4ARRAYOID:
			set_elements(arguments, declared, argument, value, INT4OID);
			break;
		case INT8ARRAYOID:
			set_elements(arguments, declared, argument, value, INT8OID);
			break;
		case TEXTARRAYOID:
			set_elements(arguments, declared, argument, value, TEXTOID);
			break;
		default:
			elog(ERROR, "argument of type %u can't be sent to Smartlead", type);
	}
	switch (declared->type)
	{
		case SL_BIGINT_AS_LIST:
		case SL_TEXT_AS_LIST:
			argument->elements = palloc(sizeof(char *));
			argument->elements[0] = argument->json;
			argument->n_elements = 1;
			break;
		default:
			break;
	}
}

static SlArgument *
named_argument(SlArguments *arguments, const char *name)
{
	int param = sl_endpoint_param(arguments->endpoint, name);

	Assert(param >= 0);
	return &arguments->value[param];
}

void
sl_arguments_set_text(SlArguments *arguments, const char *name, const char *text)
{
	SlArgument *argument = named_argument(arguments, name);

	argument->text = pstrdup(text);
	argument->json = json_string(text);
}

void
sl_arguments_set_bigint(SlArguments *arguments, const char *name, int64 number)
{
	SlArgument *argument = named_argument(arguments, name);

	argument->text = argument->json = psprintf(INT64_FORMAT, number);
}

const char *
sl_arguments_text(const SlArguments *arguments, const char *name)
{
	return arguments->value[sl_endpoint_param(arguments->endpoint, name)].text;
}

/* A missing id must never be read as "all of them". */
static void
check_required(const SlArguments *arguments)
{
	const SlEndpoint *endpoint = arguments->endpoint;

	for (int i = 0; endpoint->params[i].name != NULL; i++)
	{
		const SlArgument *argument = &arguments->value[i];

		if (!endpoint->params[i].required)
			continue;
		if (argument->json == NULL)
			ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
							errmsg("argument \"%s\" of \"%s\" must not be NULL",
								   endpoint->params[i].name, endpoint->name)));
		if ((argument->text != NULL && argument->text[0] == '\0') ||
			(argument->elements != NULL && argument->n_elements == 0))
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("argument \"%s\" of \"%s\" must not be empty",
								   endpoint->params[i].name, endpoint->name)));
	}
}

void
sl_arguments_check(const SlArguments *arguments)
{
	const SlEndpoint *endpoint = arguments->endpoint;
	bool			  changes = false;

	check_required(arguments);
	for (int i = 0; endpoint->params[i].name != NULL; i++)
		changes |= endpoint->params[i].place == SL_IN_BODY && arguments->value[i].json != NULL;
	if (endpoint->needs_a_change && !changes)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" was given nothing to change", endpoint->name),
				 errhint("Give at least one argument besides the ids; NULL leaves a field as "
						 "it is.")));
}
