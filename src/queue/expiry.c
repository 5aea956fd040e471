/*
 * queue/expiry.c
 *		Jobs that ended long ago go.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/timestamp.h"

#include "queue/queue.h"
#include "queue/statement.h"
#include "queue/store.h"
#include "worker/worker.h"

#define EXPIRE_BATCH 1000

/* Some that ended long ago, behind those looked at before. */
static SlStatement expired = {
	"SELECT id, finished_at FROM %1$s.smartlead_queue WHERE finished_at < $1 "
	"AND finished_at >= $2 AND (finished_at, id) > ($2, $3) ORDER BY finished_at, id LIMIT $4 "
	"FOR UPDATE SKIP LOCKED",
	4,
	{TIMESTAMPTZOID, TIMESTAMPTZOID, INT8OID, INT8OID}};

static SlStatement expire = {
	"DELETE FROM %1$s.smartlead_queue WHERE id = ANY ($1)", 1, {INT8ARRAYOID}};

/* How far the old jobs have been looked through in this pass. */
static TimestampTz passed_at = DT_NOBEGIN;
static int64	   passed_id = 0;

static int64 *
find_expired(int *n)
{
	TimestampTz limit = GetCurrentTimestamp() - sl_queue_retention_min * 60 * USECS_PER_SEC;
	Datum		values[] = {TimestampTzGetDatum(limit), TimestampTzGetDatum(passed_at),
							Int64GetDatum(passed_id), Int64GetDatum(EXPIRE_BATCH)};
	int64	   *ids;
	bool		is_null;

	sl_statement_execute(&expired, values, NULL);
	*n = (int) SPI_processed;
	ids = palloc(sizeof(int64) * Max(*n, 1));
	for (int i = 0; i < *n; i++)
	{
		ids[i] = passed_id = DatumGetInt64(sl_statement_column(i, 1, &is_null));
		passed_at = DatumGetTimestampTz(sl_statement_column(i, 2, &is_null));
	}
	SPI_freetuptable(SPI_tuptable);
	return ids;
}

static void
delete_jobs(void *argument)
{
	sl_statement_execute(&expire, (Datum *) argument, NULL);
}

bool
sl_store_expire(void)
{
	int64	  *ids;
	int		   n;
	Datum	   all;
	ErrorData *error;

	if (sl_queue_retention_min < 0)
		return false;
	if (TIMESTAMP_IS_NOBEGIN(passed_at))
		sl_store_note(SL_HOUSEKEEPING_TROUBLE, NULL, NULL);
	ids = find_expired(&n);
	all = sl_statement_ids(ids, n);
	error = sl_attempt(delete_jobs, &all);
	/* One that can't be deleted, since something of the user's refers to it, stays alone. */
	for (int i = 0; error != NULL && i < n; i++)
	{
		Datum	   one = sl_statement_ids(&ids[i], 1);
		ErrorData *own = sl_attempt(delete_jobs, &one);

		if (own != NULL)
			sl_store_note(SL_HOUSEKEEPING_TROUBLE, "old jobs can't be deleted", own);
	}
	if (n == EXPIRE_BATCH)
		return true;
	passed_at = DT_NOBEGIN;
	passed_id = 0;
	return false;
}
