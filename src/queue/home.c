/*
 * queue/home.c
 *		Where a queue is at home: in which table of which database of which cluster.
 *
 * A copy of the database holds the same jobs, and must not perform them again: the original does.
 * So each job carries its home's number, and so does the table smartlead_queue_home, which has one
 * row, of the queue itself, and gets another one with whatever is copied into it. The number changes
 *
 * - with the cluster's system identifier: a dump, logical replication, pg_upgrade;
 * - with the database: CREATE DATABASE ... TEMPLATE, a dump loaded beside the original;
 * - with the table: a dump loaded in the original's place, when jobs may have been performed since.
 *
 * It stays in a standby that is promoted, which goes on at once. A physical copy that is opened
 * beside the living original can't be told from that: for this, there is smartlead.perform_jobs.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/spi.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"

#include "queue/home.h"
#include "queue/owner.h"
#include "queue/queue.h"

PG_FUNCTION_INFO_V1(smartlead_home);
PG_FUNCTION_INFO_V1(smartlead_adopt_queue);

int64
sl_home(Oid queue)
{
	struct
	{
		uint64 cluster;
		Oid	   database;
		Oid	   queue;
	} key = {GetSystemIdentifier(), MyDatabaseId, queue};

	return (int64) hash_bytes_extended((const unsigned char *) &key, sizeof(key), 0);
}

static Oid
queue_of(FunctionCallInfo fcinfo)
{
	return get_relname_relid(SL_QUEUE_TABLE, get_func_namespace(fcinfo->flinfo->fn_oid));
}

/* smartlead_home() → bigint: the home of jobs that are enqueued here. */
Datum
smartlead_home(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(sl_home(queue_of(fcinfo)));
}

/* What is delivered after the adoption would be performed at both ends. */
static void
check_no_subscription(const SlOwnerWork *work, Oid queue)
{
	Oid	  types[] = {OIDOID};
	Datum values[] = {ObjectIdGetDatum(queue)};
	char *name;

	if (sl_owner_execute(work,
						 "SELECT s.subname::pg_catalog.text FROM pg_catalog.pg_subscription_rel r "
						 "JOIN pg_catalog.pg_subscription s "
						 "ON s.oid OPERATOR(pg_catalog.=) r.srsubid "
						 "WHERE r.srrelid OPERATOR(pg_catalog.=) $1 AND s.subenabled",
						 1, types, values, NULL) == 0)
		return;
	name = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
	ereport(
		ERROR,
		(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
		 errmsg("subscription \"%s\" still delivers jobs into the queue", name),
		 errhint("Stop the workers at the publisher, then drop the subscription or disable it.")));
}

static void
write_home(const SlOwnerWork *work, Datum home)
{
	Oid	  types[] = {INT8OID};
	Datum values[] = {home};

	sl_owner_execute(work, "DELETE FROM %s.smartlead_queue_home", 0, NULL, NULL, NULL);
	sl_owner_execute(work,
					 "INSERT INTO %s.smartlead_queue_home "
					 "SELECT $1, c.system_identifier, d.oid, d.datname "
					 "FROM pg_catalog.pg_control_system() c, pg_catalog.pg_database d "
					 "WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()",
					 1, types, values, NULL);
}

/* Returns how many of the jobs that came from elsewhere are not over. */
static int64
take_over_jobs(const SlOwnerWork *work, Datum home)
{
	Oid	  types[] = {INT8OID};
	Datum values[] = {home};
	bool  is_null;

	sl_owner_execute(work,
					 "UPDATE %s.smartlead_queue SET state = 'failed', in_doubt = true, "
					 "sqlstate = 'SL520', last_error = 'outcome unknown: the job was running "
					 "where this queue was copied from', "
					 "finished_at = pg_catalog.clock_timestamp() "
					 "WHERE state OPERATOR(pg_catalog.=) 'running' "
					 "AND home OPERATOR(pg_catalog.<>) $1",
					 1, types, values, NULL);
	sl_owner_execute(
		work,
		"WITH ours AS (UPDATE %s.smartlead_queue SET home = $1 "
		"WHERE home OPERATOR(pg_catalog.<>) $1 RETURNING state) "
		"SELECT pg_catalog.count(*) FROM ours WHERE state OPERATOR(pg_catalog.=) 'ready'",
		1, types, values, NULL);
	return DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &is_null));
}

/*
 * smartlead_adopt_queue() → bigint
 *
 * The copied queue goes on here, and its original must not any more. Jobs that were running when it
 * was copied end as "outcome unknown". Returns how many jobs from elsewhere are to be performed here
 * now; 0 too where nothing was copied, which changes nothing.
 */
Datum
smartlead_adopt_queue(PG_FUNCTION_ARGS)
{
	Oid			queue = queue_of(fcinfo);
	Datum		home = Int64GetDatum(sl_home(queue));
	SlOwnerWork work;
	int64		n;

	PreventCommandIfReadOnly("smartlead_adopt_queue()");
	sl_owner_begin(&work, get_func_namespace(fcinfo->flinfo->fn_oid));
	check_no_subscription(&work, queue);
	write_home(&work, home);
	n = take_over_jobs(&work, home);
	sl_owner_end(&work);
	sl_queue_wake_at_commit();
	PG_RETURN_INT64(n);
}
