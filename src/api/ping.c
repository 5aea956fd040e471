/*
 * api/ping.c
 *		Does a connection work? The first thing that a new user runs.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "access/htup_details.h"
#include "portability/instr_time.h"
#include "utils/builtins.h"
#include "utils/numeric.h"

#include "api/call.h"
#include "api/function.h"

PG_FUNCTION_INFO_V1(smartlead_ping);

/* "60/60s, 10/1s": the limit that calls keep. */
static char *
rate_limit_text(const SlRateLimit *limit)
{
	StringInfoData text;

	if (limit->n_windows == 0)
		return "none";
	initStringInfo(&text);
	for (int i = 0; i < limit->n_windows; i++)
	{
		int period = limit->window[i].period_ms;

		appendStringInfo(&text, "%s%d/", i > 0 ? ", " : "", limit->window[i].count);
		if (period % 1000 == 0)
			appendStringInfo(&text, "%ds", period / 1000);
		else
			appendStringInfo(&text, "%dms", period);
	}
	return text.data;
}

static Datum
milliseconds(instr_time elapsed)
{
	return DirectFunctionCall3(numeric_in,
							   CStringGetDatum(psprintf("%.1f", INSTR_TIME_GET_MILLISEC(elapsed))),
							   ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));
}

/* What to tell the user: all is well, or Smartlead's words, or what to look at. */
static char *
message_text(const SlAnswer *answer)
{
	const SlProblem *problem = answer->problem;

	if (problem == NULL)
		return "connected";
	if (problem->detail == NULL)
		return problem->message;
	return psprintf("%s: %s", problem->message, problem->detail);
}

/*
 * smartlead_ping(connection name) → one row
 *
 * GET /leads/fetch-categories, the smallest answer there is. Reports what happened instead of
 * raising: ok, HTTP status (NULL: no answer), latency in milliseconds, the rate limit that calls
 * keep, and a message. Raises only when there is no such connection.
 */
Datum
smartlead_ping(PG_FUNCTION_ARGS)
{
	MemoryContext caller;
	SlConnection *connection;
	SlAnswer	 *answer;
	instr_time	  start, elapsed;
	TupleDesc	  descriptor;
	Datum		  values[7];
	bool		  nulls[7] = {false};

	if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	descriptor = BlessTupleDesc(descriptor);
	caller = sl_function_begin();
	connection =
		sl_connection_resolve(PG_ARGISNULL(0) ? NULL : NameStr(*PG_GETARG_NAME(0)), GetUserId());
	INSTR_TIME_SET_CURRENT(start);
	answer =
		sl_call_try(connection, sl_arguments(sl_endpoint_find("list_lead_categories", NULL, 0)));
	INSTR_TIME_SET_CURRENT(elapsed);
	INSTR_TIME_SUBTRACT(elapsed, start);
	MemoryContextSwitchTo(caller);

	values[0] = CStringGetTextDatum(connection->name);
	values[1] = CStringGetTextDatum(connection->url[SL_CORE]);
	values[2] = BoolGetDatum(answer->problem == NULL);
	values[3] = Int32GetDatum(answer->status);
	nulls[3] = answer->status == 0;
	values[4] = milliseconds(elapsed);
	values[5] = CStringGetTextDatum(rate_limit_text(&connection->rate_limit));
	values[6] = CStringGetTextDatum(message_text(answer));
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(descriptor, values, nulls)));
}
