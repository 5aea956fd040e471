/*
 * table/insertion.c
 *		Rows into a table of ours as by one INSERT, without a plan.
 *
 * The steps are those of COPY FROM. A plan for a few rows costs as much as the rows themselves.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "optimizer/optimizer.h"
#include "rewrite/rewriteHandler.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "table/insertion.h"

bool sl_in_users_code = false;

/*
 * Values are written as they are: a column of another type would be read as something that it is
 * not.
 */
static void
check_columns(Relation relation, const Oid *types, int given)
{
	TupleDesc descriptor = RelationGetDescr(relation);
	int		  n = 0;

	while (n < given && n < descriptor->natts &&
		   TupleDescAttr(descriptor, n)->atttypid == types[n] &&
		   TupleDescAttr(descriptor, n)->atttypmod == -1)
		n++;
	if (n < given || relation->rd_rel->relkind != RELKIND_RELATION)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("table \"%s\" is not as the extension made it",
						RelationGetRelationName(relation)),
				 n < given ? errdetail("Column %d is missing or has another type.", n + 1) : 0,
				 errhint("If the extension's files are newer than the extension: ALTER EXTENSION "
						 "smartlead UPDATE.")));
}

/* The defaults of columns that rows are not given, such as users may have added. */
static void
prepare_defaults(SlInsertion *insertion)
{
	Relation  relation = insertion->target->ri_RelationDesc;
	TupleDesc descriptor = RelationGetDescr(relation);

	insertion->defaults = palloc0(sizeof(ExprState *) * descriptor->natts);
	for (int i = insertion->given; i < descriptor->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(descriptor, i);
		Expr			 *expression;

		if (attribute->attisdropped || attribute->attgenerated != '\0')
			continue;
		expression = (Expr *) build_column_default(relation, i + 1);
		if (expression != NULL)
			insertion->defaults[i] = ExecInitExpr(expression_planner(expression), NULL);
	}
}

void
sl_insertion_begin(SlInsertion *insertion, Relation relation, const Oid *types, int given)
{
	EState		  *estate = CreateExecutorState();
	ResultRelInfo *target = makeNode(ResultRelInfo);
	bool		   before = sl_in_users_code;

	check_columns(relation, types, given);
	insertion->estate = estate;
	insertion->target = target;
	insertion->given = given;
	insertion->command = estate->es_output_cid = GetCurrentCommandId(true);
	PushActiveSnapshot(GetTransactionSnapshot()); /* what triggers and defaults see */
	sl_init_range_table(estate, relation);
	InitResultRelInfo(target, relation, 1, NULL, 0);
	sl_open_target(estate, target);
	insertion->slot = table_slot_create(relation, &estate->es_tupleTable);
	prepare_defaults(insertion);
	AfterTriggerBeginQuery();
	insertion->transition =
		MakeTransitionCaptureState(relation->trigdesc, RelationGetRelid(relation), CMD_INSERT);
	sl_in_users_code = true;
	ExecBSInsertTriggers(estate, target);
	sl_in_users_code = before;
}

static void
fill_slot(SlInsertion *insertion, const Datum *values, const bool *nulls)
{
	TupleTableSlot *slot = insertion->slot;
	ExprContext	   *context = GetPerTupleExprContext(insertion->estate);
	MemoryContext	caller = MemoryContextSwitchTo(context->ecxt_per_tuple_memory);

	ExecClearTuple(slot);
	memcpy(slot->tts_values, values, sizeof(Datum) * insertion->given);
	memcpy(slot->tts_isnull, nulls, sizeof(bool) * insertion->given);
	for (int i = insertion->given; i < slot->tts_tupleDescriptor->natts; i++)
	{
		slot->tts_isnull[i] = true;
		if (insertion->defaults[i] != NULL)
			slot->tts_values[i] =
				ExecEvalExpr(insertion->defaults[i], context, &slot->tts_isnull[i]);
	}
	ExecStoreVirtualTuple(slot);
	MemoryContextSwitchTo(caller);
}

static bool
insert_row(SlInsertion *insertion, const Datum *values, const bool *nulls, bool in_users_code)
{
	EState		   *estate = insertion->estate;
	ResultRelInfo  *target = insertion->target;
	TupleTableSlot *slot = insertion->slot;
	TupleConstr	   *constraints = RelationGetDescr(target->ri_RelationDesc)->constr;
	TriggerDesc	   *triggers = target->ri_TrigDesc;
	List		   *recheck = NIL;

	ResetPerTupleExprContext(estate);
	fill_slot(insertion, values, nulls);
	slot->tts_tableOid = RelationGetRelid(target->ri_RelationDesc);
	if (triggers != NULL && triggers->trig_insert_before_row &&
		!ExecBRInsertTriggers(estate, target, slot))
		return false;
	if (constraints != NULL && constraints->has_generated_stored)
		sl_compute_generated(target, estate, slot);
	if (constraints != NULL)
		ExecConstraints(target, slot, estate);
	if (target->ri_RelationDesc->rd_rel->relispartition)
		ExecPartitionCheck(target, slot, estate, true);
	sl_in_users_code = in_users_code;
	table_tuple_insert(target->ri_RelationDesc, slot, insertion->command, 0, NULL);
	sl_in_users_code = true;
	if (target->ri_NumIndices > 0)
		recheck = sl_insert_index_entries(target, estate, slot);
	ExecARInsertTriggers(estate, target, slot, recheck, insertion->transition);
	list_free(recheck);
	return true;
}

bool
sl_insertion_row(SlInsertion *insertion, const Datum *values, const bool *nulls)
{
	bool before = sl_in_users_code;
	bool inserted;

	sl_in_users_code = true;
	inserted = insert_row(insertion, values, nulls, before);
	sl_in_users_code = before;
	return inserted;
}

void
sl_insertion_end(SlInsertion *insertion)
{
	EState *estate = insertion->estate;
	bool	before = sl_in_users_code;

	sl_in_users_code = true;
	ExecASInsertTriggers(estate, insertion->target, insertion->transition);
	AfterTriggerEndQuery(estate);
	sl_in_users_code = before;
	PopActiveSnapshot();
	sl_close_target(estate, insertion->target);
	ExecResetTupleTable(estate->es_tupleTable, false);
	FreeExecutorState(estate);
	CommandCounterIncrement();
}
