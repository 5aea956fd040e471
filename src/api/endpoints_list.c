/*
 * api/endpoints_list.c
 *		The endpoint table as rows.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "api/endpoints.h"

PG_FUNCTION_INFO_V1(smartlead_endpoints);

static const char *
kind_name(SlKind kind)
{
	static const char *const names[] = {
		[SL_ACTION] = "action", [SL_LOOKUP] = "lookup", [SL_LISTING] = "listing"};

	return names[kind];
}

static const char *
method_name(SlMethod method)
{
	static const char *const names[] = {[SL_GET] = "GET",
										[SL_POST] = "POST",
										[SL_PUT] = "PUT",
										[SL_PATCH] = "PATCH",
										[SL_DELETE] = "DELETE"};

	return names[method];
}

static const char *
host_name(SlHost host)
{
	static const char *const names[] = {
		[SL_CORE] = "core",
		[SL_SMART_DELIVERY] = "smart delivery",
		[SL_SMART_SENDERS] = "smart senders",
		[SL_SMART_PROSPECT] = "smart prospect",
		[SL_SMART_SERVERS] = "smart servers",
	};

	return names[host];
}

/* The SQL type of an argument. */
static const char *
type_name(SlParamType type)
{
	static const char *const names[] = {
		[SL_BIGINT] = "bigint",
		[SL_INTEGER] = "integer",
		[SL_NUMERIC] = "numeric",
		[SL_TEXT] = "text",
		[SL_BOOLEAN] = "boolean",
		[SL_TIMESTAMP] = "timestamp with time zone",
		[SL_DATE] = "date",
		[SL_OBJECT] = "jsonb",
		[SL_ARRAY] = "jsonb",
		[SL_BIGINTS] = "bigint[]",
		[SL_INTEGERS] = "integer[]",
		[SL_TEXTS] = "text[]",
		[SL_BIGINT_AS_LIST] = "bigint",
		[SL_TEXT_AS_LIST] = "text",
	};

	return names[type];
}

static Datum
text_array(Datum *elements, int n)
{
	return PointerGetDatum(construct_array(elements, n, TEXTOID, -1, false, TYPALIGN_INT));
}

/* The three arrays that tell an endpoint's arguments. */
static void
describe_arguments(const SlEndpoint *endpoint, Datum *values)
{
	int	   n = sl_endpoint_param_count(endpoint);
	Datum *names = palloc(sizeof(Datum) * Max(n, 1));
	Datum *types = palloc(sizeof(Datum) * Max(n, 1));
	Datum *required = palloc(sizeof(Datum) * Max(n, 1));
	int	   n_arguments = 0;

	for (int i = 0; i < n; i++)
	{
		const SlParam *param = &endpoint->params[i];

		if (param->found_out)
			continue;
		names[n_arguments] = CStringGetTextDatum(param->name);
		types[n_arguments] = CStringGetTextDatum(type_name(param->type));
		required[n_arguments++] = BoolGetDatum(param->required);
	}
	values[0] = text_array(names, n_arguments);
	values[1] = text_array(types, n_arguments);
	values[2] = PointerGetDatum(
		construct_array(required, n_arguments, BOOLOID, sizeof(bool), true, TYPALIGN_CHAR));
}

static void
set_text(Datum *values, bool *nulls, int column, const char *text)
{
	nulls[column] = text == NULL;
	if (text != NULL)
		values[column] = CStringGetTextDatum(text);
}

/*
 * smartlead_endpoints() → one row for each row of the endpoint table
 */
Datum
smartlead_endpoints(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;

	sl_init_materialized_srf(fcinfo);
	for (const SlEndpoint *endpoint = sl_endpoints; endpoint->name != NULL; endpoint++)
	{
		Datum values[14];
		bool  nulls[14] = {false};

		values[0] = CStringGetTextDatum(endpoint->name);
		values[1] = CStringGetTextDatum(kind_name(endpoint->kind));
		values[2] = CStringGetTextDatum(method_name(endpoint->method));
		values[3] = CStringGetTextDatum(endpoint->path);
		describe_arguments(endpoint, &values[4]);
		values[7] = BoolGetDatum(endpoint->repeatable);
		values[8] = BoolGetDatum(endpoint->internal);
		values[9] = BoolGetDatum(endpoint->administrators);
		set_text(values, nulls, 10, endpoint->known_from);
		set_text(values, nulls, 11, endpoint->doubt);
		set_text(values, nulls, 12, host_name(endpoint->host));
		set_text(values, nulls, 13, endpoint->costs);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}
