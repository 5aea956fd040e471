/*
 * queue/statement.c
 *		How the dispatcher's statements are run: plans that are made once and kept.
 *
 * A queue is empty at one moment and long at the next, so there are no statistics to trust. The
 * dispatcher's session therefore knows index scans and nested loops only (dispatcher.c), and each
 * statement fits one index alone: "state || ''" keeps a condition from fitting another one, and "IS
 * NOT TRUE" a subquery from becoming a join.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "queue/home.h"
#include "queue/queue.h"
#include "queue/statement.h"
#include "queue/store.h"
#include "worker/worker.h"

/* For which the plans were made. */
static Oid	 schema = InvalidOid;
static int64 home = 0;

/* Those that have a plan. */
static SlStatement *prepared = NULL;

static void
forget_plans(void)
{
	for (; prepared != NULL; prepared = prepared->next)
	{
		SPI_freeplan(prepared->plan);
		prepared->plan = NULL;
	}
}

bool
sl_store_open(void)
{
	Oid	  found = sl_extension_schema();
	Oid	  queue = OidIsValid(found) ? get_relname_relid(SL_QUEUE_TABLE, found) : InvalidOid;
	int64 here = sl_home(queue);

	if (!OidIsValid(queue))
		return false;
	if (found != schema || here != home)
		forget_plans();
	schema = found;
	home = here;
	return true;
}

Oid
sl_store_schema(void)
{
	return schema;
}

int64
sl_statement_home(void)
{
	return home;
}

static void
prepare(SlStatement *statement)
{
	char *number = psprintf("'" INT64_FORMAT "'::bigint", home);
	char *text = psprintf(statement->text, quote_identifier(get_namespace_name(schema)), number);

	statement->plan = SPI_prepare(text, statement->n_args, statement->types);
	if (statement->plan == NULL)
		elog(ERROR, "could not prepare a statement of the queue: %s",
			 SPI_result_code_string(SPI_result));
	SPI_keepplan(statement->plan);
	statement->next = prepared;
	prepared = statement;
}

void
sl_statement_execute(SlStatement *statement, Datum *values, const bool *nulls)
{
	char null_marks[SL_STATEMENT_ARGS];

	if (statement->plan == NULL)
		prepare(statement);
	for (int i = 0; i < statement->n_args; i++)
		null_marks[i] = nulls != NULL && nulls[i] ? 'n' : ' ';
	if (SPI_execute_plan(statement->plan, values, null_marks, false, 0) < 0)
		elog(ERROR, "could not execute a statement of the queue: %s",
			 SPI_result_code_string(SPI_result));
}

Datum
sl_statement_column(int row, int number, bool *is_null)
{
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, number, is_null);
}

Datum
sl_statement_ids(const int64 *ids, int n)
{
	Datum *datums = palloc(sizeof(Datum) * Max(n, 1));

	for (int i = 0; i < n; i++)
		datums[i] = Int64GetDatum(ids[i]);
	return PointerGetDatum(
		construct_array(datums, n, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}
