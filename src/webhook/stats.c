/*
 * webhook/stats.c
 *		Counters of the receivers in shared memory, and the function that shows them.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"

#include "webhook/webhook.h"

PG_FUNCTION_INFO_V1(smartlead_receiver_counters);
PG_FUNCTION_INFO_V1(smartlead_stat_receiver_reset);

#define N_COLUMNS (15 + SL_N_REFUSALS)

static SlReceiverStats *receivers = NULL;

Size
sl_webhook_shmem_size(void)
{
	return mul_size(SL_MAX_WORKERS, sizeof(SlReceiverStats));
}

static void
zero(SlReceiverStats *stats)
{
	pg_atomic_uint64 *counters[] = {
		&stats->requests,	   &stats->received, &stats->stored,		 &stats->duplicates,
		&stats->failed,		   &stats->batches,	 &stats->batched,		 &stats->largest_batch,
		&stats->latency_us,	   &stats->answered, &stats->max_latency_us, &stats->evicted,
		&stats->last_stored_at};

	for (int i = 0; i < lengthof(counters); i++)
		pg_atomic_write_u64(counters[i], 0);
	for (int i = 0; i < SL_N_REFUSALS; i++)
		pg_atomic_write_u64(&stats->refused[i], 0);
}

static void
initialize(SlReceiverStats *stats)
{
	pg_atomic_uint64 *counters = (pg_atomic_uint64 *) stats;

	memset(stats, 0, sizeof(SlReceiverStats));
	for (int i = 0; i < offsetof(SlReceiverStats, running) / sizeof(pg_atomic_uint64); i++)
		pg_atomic_init_u64(&counters[i], 0);
}

void
sl_webhook_shmem_startup(void)
{
	bool found;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	receivers = ShmemInitStruct("smartlead receivers", sl_webhook_shmem_size(), &found);
	if (!found)
		for (int i = 0; i < SL_MAX_WORKERS; i++)
			initialize(&receivers[i]);
	LWLockRelease(AddinShmemInitLock);
}

SlReceiverStats *
sl_receiver_stats(int slot)
{
	if (receivers == NULL)
		sl_webhook_shmem_startup();
	return &receivers[slot];
}

static Datum
counter(pg_atomic_uint64 *value)
{
	return Int64GetDatum((int64) pg_atomic_read_u64(value));
}

static void
put_counters(ReturnSetInfo *result, int slot, SlReceiverStats *stats)
{
	Datum  values[N_COLUMNS];
	bool   nulls[N_COLUMNS] = {false};
	int	   n = 0;
	uint64 answered = pg_atomic_read_u64(&stats->answered);
	uint64 batches = pg_atomic_read_u64(&stats->batches);
	int64  last_stored_at = (int64) pg_atomic_read_u64(&stats->last_stored_at);

	values[n++] = Int32GetDatum(slot);
	values[n++] = counter(&stats->requests);
	values[n++] = counter(&stats->received);
	values[n++] = counter(&stats->stored);
	values[n++] = counter(&stats->duplicates);
	values[n++] = counter(&stats->failed);
	for (int i = 0; i < SL_N_REFUSALS; i++)
		values[n++] = counter(&stats->refused[i]);
	values[n++] = Int64GetDatum(batches);
	nulls[n] = batches == 0;
	values[n++] = Float8GetDatum(
		batches == 0 ? 0 : (double) pg_atomic_read_u64(&stats->batched) / (double) batches);
	values[n++] = counter(&stats->largest_batch);
	nulls[n] = answered == 0;
	values[n++] = Float8GetDatum(answered == 0 ? 0
											   : (double) pg_atomic_read_u64(&stats->latency_us) /
													 1000 / (double) answered);
	values[n++] = Float8GetDatum((double) pg_atomic_read_u64(&stats->max_latency_us) / 1000);
	values[n++] = counter(&stats->connections);
	values[n++] = counter(&stats->evicted);
	nulls[n] = last_stored_at == 0;
	values[n++] = TimestampTzGetDatum(last_stored_at);
	values[n++] = Int32GetDatum(sl_worker_shared()->slots[slot].number);
	Assert(n == N_COLUMNS);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

static bool
is_receiver_here(const SlWorkerSlot *slot)
{
	return slot->used && slot->database == MyDatabaseId && slot->kind != SL_LAUNCHER &&
		   strcmp(sl_worker_kinds[slot->kind].name, "receiver") == 0;
}

/*
 * smartlead_receiver_counters(): a row for each receiver of this database
 */
Datum
smartlead_receiver_counters(PG_FUNCTION_ARGS)
{
	SlWorkers *workers = sl_worker_shared();

	sl_init_materialized_srf(fcinfo);
	for (int i = 0; i < SL_MAX_WORKERS; i++)
		if (is_receiver_here(&workers->slots[i]))
			put_counters((ReturnSetInfo *) fcinfo->resultinfo, i, sl_receiver_stats(i));
	return (Datum) 0;
}

/*
 * smartlead_stat_receiver_reset(): a count under way at this moment may be lost
 */
Datum
smartlead_stat_receiver_reset(PG_FUNCTION_ARGS)
{
	SlWorkers *workers = sl_worker_shared();

	for (int i = 0; i < SL_MAX_WORKERS; i++)
		if (is_receiver_here(&workers->slots[i]))
			zero(sl_receiver_stats(i));
	PG_RETURN_VOID();
}
