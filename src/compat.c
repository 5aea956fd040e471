/*
 * compat.c
 *		Functions whose insides differ between the PostgreSQL versions 13 to 18.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "executor/executor.h"
#include "utils/datetime.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#if PG_VERSION_NUM >= 150000
#include "common/pg_prng.h"
#else
#include "utils/tuplestore.h"
#endif

#include "compat.h"

double
sl_random_fraction(void)
{
#if PG_VERSION_NUM >= 150000
	return pg_prng_double(&pg_global_prng_state);
#else
	return (double) random() / ((double) MAX_RANDOM_VALUE + 1);
#endif
}

/*
 * The steps of timestamptz_in, which would throw and would take "now" and "infinity" as well.
 */
bool
sl_parse_timestamptz(const char *text, TimestampTz *result)
{
	char		 buffer[MAXDATELEN + MAXDATEFIELDS];
	char		*field[MAXDATEFIELDS];
	int			 type[MAXDATEFIELDS];
	int			 n_fields, kind, zone;
	struct pg_tm tm;
	fsec_t		 fsec;

	if (strlen(text) > MAXDATELEN || text[0] < '0' || text[0] > '9')
		return false;
	if (ParseDateTime(text, buffer, sizeof(buffer), field, type, MAXDATEFIELDS, &n_fields) != 0)
		return false;
#if PG_VERSION_NUM >= 160000
	{
		DateTimeErrorExtra extra;

		if (DecodeDateTime(field, type, n_fields, &kind, &tm, &fsec, &zone, &extra) != 0)
			return false;
	}
#else
	if (DecodeDateTime(field, type, n_fields, &kind, &tm, &fsec, &zone) != 0)
		return false;
#endif
	return kind == DTK_DATE && tm2timestamp(&tm, fsec, &zone, result) == 0;
}

void
sl_insert_row(Relation relation, TupleTableSlot *slot)
{
	EState		  *estate = CreateExecutorState();
	ResultRelInfo *target = makeNode(ResultRelInfo);

	InitResultRelInfo(target, relation, 0, NULL, 0);
	ExecOpenIndices(target, false);
#if PG_VERSION_NUM >= 140000
	ExecSimpleRelationInsert(target, estate, slot);
#else
	estate->es_result_relations = target;
	estate->es_num_result_relations = 1;
	estate->es_result_relation_info = target;
	ExecSimpleRelationInsert(estate, slot);
#endif
	ExecCloseIndices(target);
	ExecResetTupleTable(estate->es_tupleTable, false);
	FreeExecutorState(estate);
}

#if PG_VERSION_NUM < 150000
void
sl_init_materialized_srf(FunctionCallInfo fcinfo)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	MemoryContext  caller;
	TupleDesc	   descriptor;

	if (result == NULL || !IsA(result, ReturnSetInfo) || !(result->allowedModes & SFRM_Materialize))
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("set-valued function called in context that cannot accept a set")));
	caller = MemoryContextSwitchTo(result->econtext->ecxt_per_query_memory);
	if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	result->returnMode = SFRM_Materialize;
	result->setResult = tuplestore_begin_heap(true, false, work_mem);
	result->setDesc = BlessTupleDesc(descriptor);
	MemoryContextSwitchTo(caller);
}
#endif
