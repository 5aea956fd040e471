/*
 * api/function.c
 *		The SQL functions, all of them: each is its endpoint's row, called by its name.
 *
 * A SQL function smartlead_NAME(...) finds the row NAME of the endpoint table whose parameters are
 * its arguments, and does what the row says. Two arguments are not the endpoint's: "connection",
 * which says where to ask, and "max_rows" of the listings. What differs between actions is in the
 * table and in the function's SQL declaration; the comments there tell arguments, results and
 * errors of each.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "access/htup_details.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/tuplestore.h"

#include "api/call.h"
#include "api/function.h"
#include "api/listing.h"

PG_FUNCTION_INFO_V1(smartlead_action);
PG_FUNCTION_INFO_V1(smartlead_answer);
PG_FUNCTION_INFO_V1(smartlead_lookup);
PG_FUNCTION_INFO_V1(smartlead_listing);

/* What the function's declaration says; found once per call site. */
struct SlFunction
{
	const SlEndpoint *endpoint;
	Oid				  result_type;
	int				  n_arguments;
	int				  param[FUNC_MAX_ARGS]; /* of the endpoint; -1: not one of its */
	Oid				  type[FUNC_MAX_ARGS];
	int				  connection; /* the arguments that are not the endpoint's, or -1 */
	int				  max_rows;
};

static void
bind_arguments(SlFunction *function, const char *name, char **names)
{
	const char *params[FUNC_MAX_ARGS] = {NULL};
	int			n_params = 0;

	function->connection = function->max_rows = -1;
	for (int i = 0; i < function->n_arguments; i++)
	{
		if (strcmp(names[i], "connection") == 0)
			function->connection = i;
		else if (strcmp(names[i], "max_rows") == 0)
			function->max_rows = i;
		else
			params[n_params++] = names[i];
	}
	function->endpoint = sl_endpoint_find(name, params, n_params);
	if (function->endpoint == NULL)
		elog(ERROR, "no endpoint \"%s\" has the arguments of this function", name);
	for (int i = 0; i < function->n_arguments; i++)
		function->param[i] = sl_endpoint_param(function->endpoint, names[i]);
}

/* The function by which we were called, from the catalog. */
static SlFunction *
look_up_function(FmgrInfo *flinfo)
{
	MemoryContext caller = MemoryContextSwitchTo(flinfo->fn_mcxt);
	SlFunction	 *function = palloc0(sizeof(SlFunction));
	HeapTuple	  tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(flinfo->fn_oid));
	Form_pg_proc  proc;
	Oid			 *types;
	char		**names;
	char		 *modes;
	const char	 *name;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", flinfo->fn_oid);
	proc = (Form_pg_proc) GETSTRUCT(tuple);
	name = NameStr(proc->proname);
	get_func_arg_info(tuple, &types, &names, &modes);
	function->result_type = proc->prorettype;
	function->n_arguments = proc->pronargs;
	memcpy(function->type, types, sizeof(Oid) * proc->pronargs);
	if (strncmp(name, "smartlead_", 10) == 0)
		name += 10;
	bind_arguments(function, name, names);
	ReleaseSysCache(tuple);
	MemoryContextSwitchTo(caller);
	return function;
}

const SlFunction *
sl_function(FunctionCallInfo fcinfo)
{
	if (fcinfo->flinfo->fn_extra == NULL)
		fcinfo->flinfo->fn_extra = look_up_function(fcinfo->flinfo);
	return fcinfo->flinfo->fn_extra;
}

SlArguments *
sl_function_arguments(const SlFunction *function, FunctionCallInfo fcinfo)
{
	SlArguments *arguments = sl_arguments(function->endpoint);

	for (int i = 0; i < function->n_arguments; i++)
		if (function->param[i] >= 0 && !PG_ARGISNULL(i))
			sl_arguments_set(arguments, function->param[i], PG_GETARG_DATUM(i), function->type[i]);
	sl_arguments_check(arguments);
	return arguments;
}

SlConnection *
sl_function_connection(const SlFunction *function, FunctionCallInfo fcinfo)
{
	int			i = function->connection;
	const char *name = i < 0 || PG_ARGISNULL(i) ? NULL : NameStr(*PG_GETARG_NAME(i));

	return sl_connection_resolve(name, GetUserId());
}

/* The memory of one call: its requests, its answers, their cJSON trees. */
MemoryContext
sl_function_begin(void)
{
	return MemoryContextSwitchTo(
		AllocSetContextCreate(CurrentMemoryContext, "smartlead call", ALLOCSET_DEFAULT_SIZES));
}

void
sl_function_end(MemoryContext caller)
{
	MemoryContext own = MemoryContextSwitchTo(caller);

	MemoryContextDelete(own);
}

void
sl_function_check_writable(const SlEndpoint *endpoint)
{
	PreventCommandIfReadOnly(psprintf("smartlead_%s()", endpoint->name));
}

/*
 * smartlead_action: every function that changes something.
 *
 * Returns true when Smartlead has done it, or for functions that return bigint, how many things
 * were done (NULL when Smartlead doesn't say). Raises for everything else.
 */
Datum
smartlead_action(PG_FUNCTION_ARGS)
{
	const SlFunction *function = sl_function(fcinfo);
	MemoryContext	  caller;
	SlArguments		 *arguments;
	int64			  count;
	bool			  counted = true;

	sl_function_check_writable(function->endpoint);
	caller = sl_function_begin();
	arguments = sl_function_arguments(function, fcinfo);
	if (function->result_type == BOOLOID)
		sl_call(sl_function_connection(function, fcinfo), arguments);
	else
		counted = sl_call_count(sl_function_connection(function, fcinfo), arguments, &count);
	sl_function_end(caller);
	if (function->result_type == BOOLOID)
		PG_RETURN_BOOL(true);
	if (!counted)
		PG_RETURN_NULL();
	PG_RETURN_INT64(count);
}

/*
 * smartlead_answer: every function that returns what Smartlead answers as it is, since its form is
 * not known well enough for columns.
 *
 * Returns jsonb, or NULL when the answer is empty. Raises for everything else.
 */
Datum
smartlead_answer(PG_FUNCTION_ARGS)
{
	const SlFunction *function = sl_function(fcinfo);
	MemoryContext	  caller, own;
	const SlAnswer	 *answer;
	SlRequest		  request = {.endpoint = function->endpoint->name,
								 .method = function->endpoint->method};
	Jsonb			 *result;

	if (function->endpoint->kind == SL_ACTION)
		sl_function_check_writable(function->endpoint);
	caller = sl_function_begin();
	answer =
		sl_call(sl_function_connection(function, fcinfo), sl_function_arguments(function, fcinfo));
	own = MemoryContextSwitchTo(caller);
	result = sl_answer_jsonb(&request, answer);
	MemoryContextDelete(own);
	if (result == NULL)
		PG_RETURN_NULL();
	PG_RETURN_JSONB_P(result);
}

/* One object as a row of the descriptor's type. */
static void
read_object(const SlFunction *function, const SlArguments *arguments, const cJSON *object,
			TupleDesc descriptor, Datum *values, bool *nulls)
{
	SlRecordReader *reader = sl_record_reader(descriptor, function->endpoint->shape);
	SlRequest		request = {.endpoint = function->endpoint->name};
	char		   *problem = sl_record_read(reader, object, values, nulls);

	if (problem != NULL)
		sl_problem_raise(sl_problem_unreadable(&request, problem));
}

/*
 * smartlead_lookup: every function that fetches one object.
 *
 * Returns one row, or none when Smartlead doesn't have it.
 */
Datum
smartlead_lookup(PG_FUNCTION_ARGS)
{
	const SlFunction *function = sl_function(fcinfo);
	ReturnSetInfo	 *result = (ReturnSetInfo *) fcinfo->resultinfo;
	MemoryContext	  caller;
	SlArguments		 *arguments;
	const cJSON		 *object;

	sl_init_materialized_srf(fcinfo);
	caller = sl_function_begin();
	arguments = sl_function_arguments(function, fcinfo);
	object = sl_answer_object(sl_call(sl_function_connection(function, fcinfo), arguments));
	if (object != NULL)
	{
		Datum *values = palloc(sizeof(Datum) * result->setDesc->natts);
		bool  *nulls = palloc(sizeof(bool) * result->setDesc->natts);

		read_object(function, arguments, object, result->setDesc, values, nulls);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	sl_function_end(caller);
	return (Datum) 0;
}

static int64
max_rows_argument(const SlFunction *function, FunctionCallInfo fcinfo)
{
	int64 max_rows;

	if (function->max_rows < 0 || PG_ARGISNULL(function->max_rows))
		return -1;
	max_rows = PG_GETARG_INT64(function->max_rows);
	if (max_rows < 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"max_rows\" must not be negative")));
	return max_rows;
}

/*
 * smartlead_listing: every function that lists objects.
 *
 * Returns all rows of all pages, or the first max_rows. Raises without having returned any row when
 * a page can't be had.
 */
Datum
smartlead_listing(PG_FUNCTION_ARGS)
{
	const SlFunction *function = sl_function(fcinfo);
	ReturnSetInfo	 *result = (ReturnSetInfo *) fcinfo->resultinfo;
	MemoryContext	  caller;
	SlArguments		 *arguments;

	sl_init_materialized_srf(fcinfo);
	caller = sl_function_begin();
	arguments = sl_function_arguments(function, fcinfo);
	sl_listing_run(sl_function_connection(function, fcinfo), arguments,
				   max_rows_argument(function, fcinfo), result->setResult, result->setDesc);
	sl_function_end(caller);
	return (Datum) 0;
}
