/*
 * stats/requests.c
 *		Counters of the requests made, per connection and endpoint, and the functions that show them.
 *
 * A fixed table of counters, each under a spinlock of its own. Whoever counts looks from the place
 * that the hash of database, server and endpoint gives, and takes the first free counter for a new
 * one. After a few taken places, the request is counted in a last counter, "others". Since a reset
 * frees counters in the midst of others' ways, a key may come to have two: readers add them up.
 *
 * Without the module in shared_preload_libraries, each session counts for itself.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "storage/spin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "stats/stats.h"

#define MAX_COUNTERS 1024
#define MAX_STEPS 64

/* The last counter is not found by hash. */
#define OTHERS MAX_COUNTERS
#define OTHERS_NAME "others"

/* No padding: it is hashed and compared as bytes. */
typedef struct CounterKey
{
	Oid	 database;
	Oid	 server;
	char endpoint[NAMEDATALEN];
} CounterKey;

typedef struct Totals
{
	int64		calls;
	int64		errors;
	int64		retries;
	int64		throttled;
	int64		throttled_us;
	int64		bytes_sent;
	int64		bytes_received;
	int64		latency_us;
	int64		max_latency_us;
	TimestampTz last_call_at;
} Totals;

typedef struct Counter
{
	slock_t	   mutex;
	bool	   used;
	CounterKey key;
	Totals	   totals;
} Counter;

static Counter *shared_counters = NULL;

Size
sl_stats_shmem_size(void)
{
	return MAXALIGN((MAX_COUNTERS + 1) * sizeof(Counter));
}

static void
init_counters(Counter *counters)
{
	memset(counters, 0, (MAX_COUNTERS + 1) * sizeof(Counter));
	for (int i = 0; i <= MAX_COUNTERS; i++)
		SpinLockInit(&counters[i].mutex);
}

void
sl_stats_shmem_startup(void)
{
	bool found;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	shared_counters =
		ShmemInitStruct("smartlead request statistics", sl_stats_shmem_size(), &found);
	if (!found)
		init_counters(shared_counters);
	LWLockRelease(AddinShmemInitLock);
}

static Counter *
get_counters(void)
{
	static Counter local_counters[MAX_COUNTERS + 1];
	static bool	   initialized = false;

	if (shared_counters)
		return shared_counters;
	if (!initialized)
		init_counters(local_counters);
	initialized = true;
	return local_counters;
}

static void
add_request(Totals *totals, const SlRequestStats *stats, TimestampTz now)
{
	totals->calls++;
	totals->errors += stats->failed ? 1 : 0;
	totals->retries += stats->retries;
	totals->throttled += stats->throttled ? 1 : 0;
	totals->throttled_us += stats->throttled_us;
	totals->bytes_sent += stats->bytes_sent;
	totals->bytes_received += stats->bytes_received;
	totals->latency_us += stats->latency_us;
	totals->max_latency_us = Max(totals->max_latency_us, stats->latency_us);
	totals->last_call_at = Max(totals->last_call_at, now);
}

/* Counts in this counter if it is the key's or free; else false. */
static bool
count_in(Counter *counter, const CounterKey *key, const SlRequestStats *stats, TimestampTz now)
{
	bool ours;

	SpinLockAcquire(&counter->mutex);
	if (!counter->used)
	{
		counter->used = true;
		counter->key = *key;
	}
	ours = memcmp(&counter->key, key, sizeof(*key)) == 0;
	if (ours)
		add_request(&counter->totals, stats, now);
	SpinLockRelease(&counter->mutex);
	return ours;
}

void
sl_stats_count_request(const SlRequestStats *stats)
{
	Counter	   *counters = get_counters();
	TimestampTz now = GetCurrentTimestamp();
	CounterKey	key;
	CounterKey	others;
	uint32		hash;

	memset(&key, 0, sizeof(key));
	key.database = MyDatabaseId;
	key.server = stats->server;
	strlcpy(key.endpoint, stats->endpoint, sizeof(key.endpoint));
	hash = hash_bytes((const unsigned char *) &key, sizeof(key));

	for (uint32 step = 0; step < MAX_STEPS; step++)
	{
		if (count_in(&counters[(hash + step) % MAX_COUNTERS], &key, stats, now))
			return;
	}

	memset(&others, 0, sizeof(others));
	strlcpy(others.endpoint, OTHERS_NAME, sizeof(others.endpoint));
	count_in(&counters[OTHERS], &others, stats, now);
}

/* Those of the current database, and the one that all databases share. */
static bool
is_visible(const Counter *counter)
{
	return counter->used &&
		   (counter->key.database == MyDatabaseId || counter->key.database == InvalidOid);
}

static void
put_counter(ReturnSetInfo *rsinfo, const Counter *counter)
{
	const Totals *totals = &counter->totals;
	Datum		  values[12];
	bool		  nulls[12] = {false};

	values[0] = ObjectIdGetDatum(counter->key.server);
	nulls[0] = !OidIsValid(counter->key.server);
	values[1] = CStringGetTextDatum(counter->key.endpoint);
	values[2] = Int64GetDatum(totals->calls);
	values[3] = Int64GetDatum(totals->errors);
	values[4] = Int64GetDatum(totals->retries);
	values[5] = Int64GetDatum(totals->throttled);
	values[6] = Float8GetDatum(totals->throttled_us / 1000.0);
	values[7] = Int64GetDatum(totals->bytes_sent);
	values[8] = Int64GetDatum(totals->bytes_received);
	values[9] = Float8GetDatum(totals->latency_us / 1000.0);
	values[10] = Float8GetDatum(totals->max_latency_us / 1000.0);
	values[11] = TimestampTzGetDatum(totals->last_call_at);
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

PG_FUNCTION_INFO_V1(smartlead_request_counters);

Datum
smartlead_request_counters(PG_FUNCTION_ARGS)
{
	Counter *counters = get_counters();

	sl_init_materialized_srf(fcinfo);
	for (int i = 0; i <= MAX_COUNTERS; i++)
	{
		Counter counter;

		SpinLockAcquire(&counters[i].mutex);
		counter = counters[i];
		SpinLockRelease(&counters[i].mutex);
		if (is_visible(&counter))
			put_counter((ReturnSetInfo *) fcinfo->resultinfo, &counter);
	}
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(smartlead_stat_reset);

Datum
smartlead_stat_reset(PG_FUNCTION_ARGS)
{
	Counter *counters = get_counters();

	for (int i = 0; i <= MAX_COUNTERS; i++)
	{
		SpinLockAcquire(&counters[i].mutex);
		if (is_visible(&counters[i]))
		{
			counters[i].used = false;
			memset(&counters[i].totals, 0, sizeof(Totals));
		}
		SpinLockRelease(&counters[i].mutex);
	}
	PG_RETURN_VOID();
}
