/*
 * queue/manage.c
 *		What users do with jobs that are in the queue: cancel, requeue, wait, resume.
 *
 * Users may only read the table. These functions write it as its owner, after checking that the
 * user belongs to the role of the job.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "api/arguments.h"
#include "queue/join.h"
#include "queue/owner.h"
#include "queue/queue.h"

PG_FUNCTION_INFO_V1(smartlead_cancel);
PG_FUNCTION_INFO_V1(smartlead_requeue);
PG_FUNCTION_INFO_V1(smartlead_wait);
PG_FUNCTION_INFO_V1(smartlead_resume_connection);

/* ---- as the owner of the tables ---- */

bool
sl_user_is_admin(Oid user)
{
	Oid admin = sl_admin_role();

	return superuser_arg(user) || (OidIsValid(admin) && is_member_of_role(user, admin));
}

void
sl_owner_begin(SlOwnerWork *work, Oid schema)
{
	work->schema = quote_identifier(get_namespace_name(schema));
	sl_become_owner(get_relname_relid(SL_QUEUE_TABLE, schema), &work->caller);
	SPI_connect();
}

uint64
sl_owner_execute(const SlOwnerWork *work, const char *statement, int n_args, Oid *types,
				 Datum *values, const char *nulls)
{
	if (SPI_execute_with_args(psprintf(statement, work->schema), n_args, types, values, nulls,
							  false, 0) < 0)
		elog(ERROR, "could not execute a statement of the queue");
	return SPI_processed;
}

void
sl_owner_end(const SlOwnerWork *work)
{
	SPI_finish();
	sl_become_oneself(&work->caller);
}

pg_noreturn static void
raise_no_job(int64 job)
{
	ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
					errmsg("there is no job " INT64_FORMAT " that you may see", job),
					errhint("Jobs that ended are kept for smartlead.queue_retention.")));
}

static void
check_may_touch(const SlOwnerWork *work, int64 job, Oid run_as)
{
	if (!has_privs_of_role(work->caller.user, run_as) && !sl_user_is_admin(work->caller.user))
		raise_no_job(job);
}

#define READ_JOB                                                                                   \
	"SELECT action, args, connection, run_as::pg_catalog.oid, state "                              \
	"FROM %s.smartlead_queue WHERE id OPERATOR(pg_catalog.=) $1"
#define LOCK_JOB READ_JOB " FOR UPDATE"

/*
 * The job's row: action, args, connection, run_as, state. It is read before it is locked, since a lock
 * on a job that runs would hold up its result until the caller's transaction ends.
 */
static void
read_job(const SlOwnerWork *work, const char *statement, int64 job)
{
	Oid	  types[] = {INT8OID};
	Datum values[] = {Int64GetDatum(job)};
	bool  is_null;

	if (sl_owner_execute(work, statement, 1, types, values, NULL) == 0)
		raise_no_job(job);
	check_may_touch(
		work, job,
		DatumGetObjectId(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 4, &is_null)));
}

/* smartlead_cancel(job bigint) → boolean: false when the job runs or has ended. */
Datum
smartlead_cancel(PG_FUNCTION_ARGS)
{
	int64		job = PG_GETARG_INT64(0);
	Oid			types[] = {INT8OID};
	Datum		values[] = {Int64GetDatum(job)};
	SlOwnerWork work;
	bool		cancelled;

	PreventCommandIfReadOnly("smartlead_cancel()");
	sl_owner_begin(&work, get_func_namespace(fcinfo->flinfo->fn_oid));
	read_job(&work, READ_JOB, job);
	cancelled = sl_owner_execute(&work,
								 "UPDATE %s.smartlead_queue SET state = 'cancelled', "
								 "finished_at = pg_catalog.clock_timestamp() "
								 "WHERE id OPERATOR(pg_catalog.=) $1 "
								 "AND state OPERATOR(pg_catalog.=) 'ready'",
								 1, types, values, NULL) > 0;
	sl_owner_end(&work);
	if (cancelled)
		sl_queue_wake_at_commit();
	PG_RETURN_BOOL(cancelled);
}

/* ---- requeue ---- */

/* The job in the row just read, checked anew as its own role. */
static const char *
read_and_check(Oid schema, SlArguments **arguments, SlNewJob *job)
{
	HeapTuple row = SPI_tuptable->vals[0];
	TupleDesc descriptor = SPI_tuptable->tupdesc;
	bool	  is_null;

	job->action = TextDatumGetCString(SPI_getbinval(row, descriptor, 1, &is_null));
	job->args = DatumGetJsonbPCopy(SPI_getbinval(row, descriptor, 2, &is_null));
	job->connection = NameStr(*DatumGetName(SPI_getbinval(row, descriptor, 3, &is_null)));
	job->run_as = DatumGetObjectId(SPI_getbinval(row, descriptor, 4, &is_null));
	return sl_queue_check(schema, job, arguments);
}

static void
resume(const SlOwnerWork *work, const char *connection, Oid run_as)
{
	Oid	  types[] = {NAMEOID, OIDOID};
	Datum values[] = {DirectFunctionCall1(namein, CStringGetDatum(connection)),
					  ObjectIdGetDatum(run_as)};

	sl_owner_execute(
		work,
		"DELETE FROM %s.smartlead_queue_paused WHERE connection OPERATOR(pg_catalog.=) $1 "
		"AND run_as OPERATOR(pg_catalog.=) $2",
		2, types, values, NULL);
}

/* Has the job in the row just read come to nothing? */
static bool
can_be_requeued(void)
{
	bool  is_null;
	char *state = TextDatumGetCString(
		SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 5, &is_null));

	return strcmp(state, "failed") == 0 || strcmp(state, "cancelled") == 0;
}

static bool
requeue(Oid schema, const SlOwnerWork *work, int64 id)
{
	Oid			 types[] = {INT8OID, INT8OID, TEXTOID};
	Datum		 values[3] = {Int64GetDatum(id)};
	char		 nulls[4] = "   ";
	SlNewJob	 job = {0};
	SlArguments *arguments;
	const char	*key;

	read_job(work, READ_JOB, id);
	if (!can_be_requeued())
		return false;
	read_job(work, LOCK_JOB, id);
	if (!can_be_requeued())
		return false;
	read_and_check(schema, &arguments, &job);
	values[1] = Int64GetDatum(sl_queue_lead(arguments));
	nulls[1] = values[1] == 0 ? 'n' : ' ';
	key = sl_join_key(arguments);
	nulls[2] = key == NULL ? 'n' : ' ';
	if (key != NULL)
		values[2] = CStringGetTextDatum(key);
	resume(work, job.connection, job.run_as);
	sl_owner_execute(
		work,
		"UPDATE %s.smartlead_queue SET state = 'ready', attempts = 0, failures = 0, interrupted = "
		"0, "
		"due_at = greatest(run_at, pg_catalog.clock_timestamp()), "
		"lead_id = $2, join_key = $3, finished_at = NULL WHERE id OPERATOR(pg_catalog.=) $1",
		3, types, values, nulls);
	return true;
}

/*
 * smartlead_requeue(job bigint) → boolean
 *
 * A failed or cancelled job is ready again, with all its attempts. It is checked like a new one. If
 * its connection was paused for its role, that goes on. False: the job is in another state.
 */
Datum
smartlead_requeue(PG_FUNCTION_ARGS)
{
	Oid			schema = get_func_namespace(fcinfo->flinfo->fn_oid);
	SlOwnerWork work;
	bool		requeued;

	PreventCommandIfReadOnly("smartlead_requeue()");
	sl_owner_begin(&work, schema);
	requeued = requeue(schema, &work, PG_GETARG_INT64(0));
	sl_owner_end(&work);
	if (requeued)
		sl_queue_wake_at_commit();
	PG_RETURN_BOOL(requeued);
}

/* smartlead_resume_connection(connection name) → integer: for how many roles it was paused. */
Datum
smartlead_resume_connection(PG_FUNCTION_ARGS)
{
	Oid			types[] = {NAMEOID, OIDOID, BOOLOID};
	Datum		values[] = {NameGetDatum(PG_GETARG_NAME(0)), ObjectIdGetDatum(GetUserId()),
							BoolGetDatum(sl_user_is_admin(GetUserId()))};
	SlOwnerWork work;
	int32		n;

	PreventCommandIfReadOnly("smartlead_resume_connection()");
	sl_owner_begin(&work, get_func_namespace(fcinfo->flinfo->fn_oid));
	n = (int32) sl_owner_execute(
		&work,
		"DELETE FROM %s.smartlead_queue_paused WHERE connection OPERATOR(pg_catalog.=) $1 "
		"AND ($3 OR pg_catalog.pg_has_role($2, run_as, 'USAGE'))",
		3, types, values, NULL);
	sl_owner_end(&work);
	if (n > 0)
		sl_queue_wake_at_commit();
	PG_RETURN_INT32(n);
}

/* ---- wait ---- */

/*
 * The job's row as of now, whatever snapshot the transaction has; NULL while the job hasn't ended.
 * In the function's own memory.
 */
static HeapTupleHeader
look(const SlOwnerWork *work, int64 job, bool give_up)
{
	Oid				types[] = {INT8OID};
	Datum			values[] = {Int64GetDatum(job)};
	char		   *statement = psprintf("SELECT q, q.xmin, q.state, q.run_as::pg_catalog.oid "
												   "FROM %s.smartlead_queue q WHERE q.id OPERATOR(pg_catalog.=) $1",
										 work->schema);
	HeapTuple		row;
	TupleDesc		descriptor;
	HeapTupleHeader found = NULL;
	bool			is_null;
	char		   *state;

	PushActiveSnapshot(GetLatestSnapshot());
	if (SPI_execute_with_args(statement, 1, types, values, NULL, true, 1) < 0)
		elog(ERROR, "could not read a job of the queue");
	if (SPI_processed == 0)
		raise_no_job(job);
	row = SPI_tuptable->vals[0];
	descriptor = SPI_tuptable->tupdesc;
	check_may_touch(work, job, DatumGetObjectId(SPI_getbinval(row, descriptor, 4, &is_null)));
	if (TransactionIdIsCurrentTransactionId(
			DatumGetTransactionId(SPI_getbinval(row, descriptor, 2, &is_null))))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("job " INT64_FORMAT " is not to be seen by the dispatcher yet", job),
						errhint("It runs after this transaction's commit: wait for it in another "
								"transaction.")));
	state = TextDatumGetCString(SPI_getbinval(row, descriptor, 3, &is_null));
	if (give_up || (strcmp(state, "ready") != 0 && strcmp(state, "running") != 0))
		found = DatumGetHeapTupleHeader(
			SPI_datumTransfer(SPI_getbinval(row, descriptor, 1, &is_null), false, -1));
	SPI_freetuptable(SPI_tuptable);
	PopActiveSnapshot();
	return found;
}

static TimestampTz
wait_limit(FunctionCallInfo fcinfo)
{
	if (PG_ARGISNULL(1))
		return DT_NOEND;
	return DatumGetTimestampTz(DirectFunctionCall2(
		timestamptz_pl_interval, TimestampTzGetDatum(GetCurrentTimestamp()), PG_GETARG_DATUM(1)));
}

/*
 * smartlead_wait(job bigint, timeout interval) → smartlead_queue
 *
 * The job's row, once it has ended or the time is over. Raises for a job that the current
 * transaction enqueued: it would wait for itself.
 */
Datum
smartlead_wait(PG_FUNCTION_ARGS)
{
	TimestampTz		limit;
	SlOwnerWork		work;
	HeapTupleHeader row;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	limit = wait_limit(fcinfo);
	if (!sl_dispatcher_runs())
		ereport(WARNING, (errmsg("no dispatcher runs in this database"),
						  errhint("List the database in smartlead.databases, or call "
								  "smartlead_start_workers().")));
	sl_queue_begin_wait();
	for (;;)
	{
		TimestampTz now = GetCurrentTimestamp();

		sl_owner_begin(&work, get_func_namespace(fcinfo->flinfo->fn_oid));
		row = look(&work, PG_GETARG_INT64(0), now >= limit);
		sl_owner_end(&work);
		if (row != NULL)
			break;
		sl_queue_wait(limit == DT_NOEND ? -1 : TimestampDifferenceMilliseconds(now, limit));
	}
	sl_queue_end_wait();
	PG_RETURN_HEAPTUPLEHEADER(row);
}
