/*
 * json/record.c
 *		Smartlead's objects as rows, by the names and types of the row type's columns.
 *
 * A field goes to the column of its name (or of its alias); what has no column is gathered in the
 * column "extra", so that nothing Smartlead sends is lost. Types are read generously, as Smartlead
 * writes them: numbers as text, text as numbers. A field that can't be read as its column's type
 * doesn't take the row with it: the column is NULL, and the field is in "extra" as it came. Only
 * without an id is a row none.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

#include "json/json.h"

struct SlRecordReader
{
	TupleDesc		   descriptor;
	const SlShape	  *shape;
	int				   extra;	 /* the index of the column "extra", or -1 */
	int				   expected; /* where the next field's column probably is */
	bool			   dashes_are_null;
	const char *const *ids;
	const char		  *unreadable_id; /* of this row: the field */
	JsonbParseState	  *extra_state;
	MemoryContext	   context; /* of this row */
};

static const char *const plain_ids[] = {"id", NULL};

SlRecordReader *
sl_record_reader(TupleDesc descriptor, const SlShape *shape)
{
	SlRecordReader *reader = palloc0(sizeof(SlRecordReader));

	reader->descriptor = descriptor;
	reader->shape = shape;
	reader->dashes_are_null = shape != NULL && shape->dashes_are_null;
	reader->ids = shape != NULL && shape->ids != NULL ? shape->ids : plain_ids;
	reader->context =
		AllocSetContextCreate(CurrentMemoryContext, "smartlead row", ALLOCSET_DEFAULT_SIZES);
	reader->extra = -1;
	for (int i = 0; i < descriptor->natts; i++)
		if (strcmp(NameStr(TupleDescAttr(descriptor, i)->attname), "extra") == 0 &&
			TupleDescAttr(descriptor, i)->atttypid == JSONBOID)
			reader->extra = i;
	return reader;
}

/* ---- one value ---- */

static bool
read_boolean(const cJSON *node, Datum *value)
{
	int64 number;
	bool  truth;

	if (cJSON_IsBool(node))
		truth = cJSON_IsTrue(node);
	else if (sl_json_bigint(node, &number) && (number == 0 || number == 1))
		truth = number == 1;
	else if (!cJSON_IsString(node) || !parse_bool(node->valuestring, &truth))
		return false;
	*value = BoolGetDatum(truth);
	return true;
}

static bool
read_numeric(const cJSON *node, Datum *value)
{
	const char *text;

	if (!sl_json_is_number(node) && !cJSON_IsString(node))
		return false;
	text = sl_json_scalar_text(node);
	if (!sl_json_is_number_text(text))
		return false;
	*value = DirectFunctionCall3(numeric_in, CStringGetDatum(text), ObjectIdGetDatum(InvalidOid),
								 Int32GetDatum(-1));
	return true;
}

static bool
read_timestamp(const cJSON *node, Datum *value)
{
	TimestampTz time;

	if (!cJSON_IsString(node) || !sl_json_time(node->valuestring, &time))
		return false;
	*value = TimestampTzGetDatum(time);
	return true;
}

/* Text stays text; a structure where text was due is kept as its JSON. */
static bool
read_text(const cJSON *node, Datum *value)
{
	if (cJSON_IsObject(node) || cJSON_IsArray(node))
	{
		Jsonb *json = sl_json_to_jsonb(node);

		*value = CStringGetTextDatum(JsonbToCString(NULL, &json->root, VARSIZE(json)));
	}
	else
		*value = CStringGetTextDatum(sl_json_scalar_text(node));
	return true;
}

/* A list; a single value where a list was due is a list of one. */
static bool
read_array(const cJSON *node, Oid element_type, Datum *value)
{
	int			 n = cJSON_IsArray(node) ? cJSON_GetArraySize(node) : 1;
	Datum		*elements = palloc(sizeof(Datum) * Max(n, 1));
	int			 count = 0;
	const cJSON *element = cJSON_IsArray(node) ? node->child : node;

	if (!cJSON_IsArray(node) && cJSON_IsString(node) && node->valuestring[0] == '\0')
		n = 0;
	for (int i = 0; i < n; i++, element = element->next)
	{
		int64 number;

		if (cJSON_IsNull(element))
			continue;
		if (element_type == INT8OID)
		{
			if (!sl_json_bigint(element, &number))
				return false;
			elements[count++] = Int64GetDatum(number);
		}
		else
			read_text(element, &elements[count++]);
	}
	if (element_type == INT8OID)
		*value = PointerGetDatum(
			construct_array(elements, count, INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	else
		*value =
			PointerGetDatum(construct_array(elements, count, TEXTOID, -1, false, TYPALIGN_INT));
	return true;
}

static bool
read_value(const cJSON *node, Oid type, Datum *value)
{
	int64 number;

	switch (type)
	{
		case INT8OID:
			if (!sl_json_bigint(node, &number))
				return false;
			*value = Int64GetDatum(number);
			return true;
		case INT4OID:
			if (!sl_json_bigint(node, &number) || number < PG_INT32_MIN || number > PG_INT32_MAX)
				return false;
			*value = Int32GetDatum((int32) number);
			return true;
		case TEXTOID:
			return read_text(node, value);
		case BOOLOID:
			return read_boolean(node, value);
		case NUMERICOID:
			return read_numeric(node, value);
		case TIMESTAMPTZOID:
			return read_timestamp(node, value);
		case JSONBOID:
			*value = JsonbPGetDatum(sl_json_to_jsonb(node));
			return true;
		case INT8ARRAYOID:
			return read_array(node, INT8OID, value);
		case TEXTARRAYOID:
			return read_array(node, TEXTOID, value);
		default:
			elog(ERROR, "no reading of JSON as type %u", type);
	}
}

/* Does this stand for a missing value? An empty text does wherever text isn't due. */
static bool
is_missing(const SlRecordReader *reader, const cJSON *node, Oid type)
{
	if (cJSON_IsNull(node))
		return true;
	if (!cJSON_IsString(node))
		return false;
	if (reader->dashes_are_null && strcmp(node->valuestring, "--") == 0)
		return true;
	return node->valuestring[0] == '\0' && type != TEXTOID && type != JSONBOID &&
		   type != TEXTARRAYOID;
}

/* ---- one row ---- */

static const char *
column_of(const SlRecordReader *reader, const char *field)
{
	const SlFieldAlias *aliases = reader->shape != NULL ? reader->shape->aliases : NULL;

	for (; aliases != NULL && aliases->field != NULL; aliases++)
		if (strcmp(aliases->field, field) == 0)
			return aliases->column;
	return field;
}

/* Fields come in the same order in every row, so the column after the last one is looked at first. */
static int
find_column(SlRecordReader *reader, const char *name)
{
	int n = reader->descriptor->natts;

	for (int i = 0; i < n; i++)
	{
		int column = (reader->expected + i) % n;

		if (column != reader->extra &&
			strcmp(NameStr(TupleDescAttr(reader->descriptor, column)->attname), name) == 0)
		{
			reader->expected = column + 1;
			return column;
		}
	}
	return -1;
}

static bool
is_id(const SlRecordReader *reader, const char *column)
{
	for (const char *const *id = reader->ids; *id != NULL; id++)
		if (strcmp(*id, column) == 0)
			return true;
	return false;
}

static void
read_field(SlRecordReader *reader, const cJSON *field, Datum *values, bool *nulls)
{
	int				  column = find_column(reader, column_of(reader, field->string));
	Form_pg_attribute attribute;

	if (column >= 0)
	{
		attribute = TupleDescAttr(reader->descriptor, column);
		if (is_missing(reader, field, attribute->atttypid))
			return;
		if (read_value(field, attribute->atttypid, &values[column]))
		{
			nulls[column] = false;
			return;
		}
		if (is_id(reader, NameStr(attribute->attname)))
			reader->unreadable_id = field->string;
	}
	if (reader->extra >= 0)
		sl_json_push_member(&reader->extra_state, field);
}

static void
read_fields(SlRecordReader *reader, const cJSON *object, bool nested, Datum *values, bool *nulls)
{
	const SlShape *shape = reader->shape;
	const cJSON	  *field;

	cJSON_ArrayForEach (field, object)
	{
		CHECK_FOR_INTERRUPTS();
		if (!nested && shape != NULL && shape->nested != NULL && cJSON_IsObject(field) &&
			strcmp(field->string, shape->nested) == 0)
			read_fields(reader, field, true, values, nulls);
		else
			read_field(reader, field, values, nulls);
	}
}

/* NULL when the row has an id, or is of a type that has none. */
static char *
missing_id(const SlRecordReader *reader, const bool *nulls)
{
	const char *wanted = NULL;

	for (int i = 0; i < reader->descriptor->natts; i++)
	{
		const char *column = NameStr(TupleDescAttr(reader->descriptor, i)->attname);

		if (!is_id(reader, column))
			continue;
		if (!nulls[i])
			return NULL;
		wanted = wanted != NULL ? wanted : column;
	}
	if (wanted == NULL)
		return NULL;
	if (reader->unreadable_id != NULL)
		return psprintf("The field \"%s\" can't be read as bigint.", reader->unreadable_id);
	return psprintf("A row has no \"%s\".", wanted);
}

char *
sl_record_read(SlRecordReader *reader, const cJSON *object, Datum *values, bool *nulls)
{
	MemoryContext caller;
	char		 *problem;

	if (!cJSON_IsObject(object))
		return "A row is not a JSON object.";
	memset(nulls, true, sizeof(bool) * reader->descriptor->natts);
	reader->expected = 0;
	reader->extra_state = NULL;
	reader->unreadable_id = NULL;
	MemoryContextReset(reader->context);
	caller = MemoryContextSwitchTo(reader->context);
	read_fields(reader, object, false, values, nulls);
	if (reader->extra_state != NULL)
	{
		values[reader->extra] = JsonbPGetDatum(
			JsonbValueToJsonb(pushJsonbValue(&reader->extra_state, WJB_END_OBJECT, NULL)));
		nulls[reader->extra] = false;
	}
	problem = missing_id(reader, nulls);
	MemoryContextSwitchTo(caller);
	return problem;
}
