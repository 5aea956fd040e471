/*
 * webhook/store.c
 *		From the queue into the table: batches, what is done when one fails, and the answers.
 *
 * What has arrived is stored in one transaction, and answered when that has committed. So a lone
 * event waits for one commit, and under load hundreds share one. A transaction holds the events of
 * one role only, so that nobody's trigger sees others' work half done.
 *
 * When something in a batch fails, nothing of it counts, and it is done again in the careful
 * way: each event in a subtransaction, so that one that fails takes nothing along; it is recorded
 * in smartlead_failed_events in the same transaction. For a while the receiver stays careful, since
 * where one trigger fails more will. What can't be helped within a batch (a deadlock, a failing
 * commit) is tried for each request alone.
 *
 * Errors are of three sorts. Those of the data, and whatever triggers throw: the event is recorded, and
 * answered like a stored one, because sending it again would not help. Passing ones: tried again. Those
 * of the server (read-only, no room, no table of events that fits): answered 503, for Smartlead
 * to send it again. Nothing is
 * answered 200 that is in neither table, on disk, and on the standbys that the settings ask for.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "access/xlog.h"
#include "utils/memutils.h"

#include "webhook/batch.h"
#include "webhook/webhook.h"

/* Each has a subtransaction, and its triggers may have more; the server remembers 64 at little cost. */
#define CAREFUL_BATCH 32
#define CAREFUL_FOR_US 10000000
#define TRIES 3
#define PROBE_EVERY_US 1000000

/*
 * After the server's own trouble, a health check says so for as long, if no event has come since.
 */
#define TROUBLE_LASTS_US 10000000

bool sl_store_wants_probe = false;

static int64		 careful_until = 0;
static int64		 trouble_since = 0; /* 0: none */
static int			 alone = 0;			/* so many requests are to be tried alone */
static MemoryContext batch_context = NULL;

static void
count_batch(const SlBatch *batch)
{
	sl_count(&sl_my_stats->received, batch->events);
	sl_count(&sl_my_stats->stored, batch->stored);
	sl_count(&sl_my_stats->duplicates, batch->duplicates);
	sl_count(&sl_my_stats->failed, batch->failed);
	sl_count(&sl_my_stats->batches, 1);
	sl_count(&sl_my_stats->batched, batch->events);
	if (batch->events > pg_atomic_read_u64(&sl_my_stats->largest_batch))
		pg_atomic_write_u64(&sl_my_stats->largest_batch, batch->events);
	if (batch->stored > 0)
		pg_atomic_write_u64(&sl_my_stats->last_stored_at, (uint64) GetCurrentTimestamp());
}

/*
 * The transaction has committed: now, and only now, clients are told. As long as it isn't known to be on
 * the standbys that it must be on, they shall come again, and will be answered like any repetition.
 */
static void
answer_batch(const SlBatch *batch)
{
	trouble_since = batch->uncertain ? sl_now_us() : 0;
	sl_receiver_trouble(SL_TROUBLE_TABLE, NULL);
	count_batch(batch);
	for (int i = 0; i < batch->done; i++)
		sl_request_answer(batch->requests[i], batch->uncertain ? 503 : batch->status[i]);
}

static void
answer_trouble(SlBatch *batch, const ErrorData *error)
{
	if (trouble_since == 0)
		ereport(LOG, (errmsg("smartlead's receiver can't store events: %s",
							 error->message ? error->message : "unknown error"),
					  error->detail ? errdetail_internal("%s", error->detail) : 0));
	trouble_since = sl_now_us();
	if (error->sqlerrcode == ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE)
		sl_receiver_trouble(
			SL_TROUBLE_TABLE,
			psprintf("%s. %s", error->message, error->detail ? error->detail : error->hint));
	for (int i = 0; i < batch->n; i++)
		sl_request_answer(batch->requests[i], 503);
}

/* One request alone, which is the last resort. */
static void
store_alone(SlHttpRequest *request)
{
	int		   status;
	SlBatch	   batch = {.requests = &request, .status = &status, .n = 1, .careful = true};
	ErrorData *error = NULL;

	for (int try = 1; try <= TRIES; try++)
	{
		batch.last_try = try == TRIES;
		error = sl_batch_run(&batch);
		if (error == NULL)
		{
			answer_batch(&batch);
			return;
		}
		if (sl_is_trouble_of_server(error->sqlerrcode))
			break;
	}
	answer_trouble(&batch, error);
}

static void
store_carefully(SlBatch *batch)
{
	ErrorData *error;

	batch->careful = true;
	batch->n = Min(batch->n, CAREFUL_BATCH);
	error = sl_batch_run(batch);
	if (error == NULL && batch->failed > 0)
		careful_until = sl_now_us() + CAREFUL_FOR_US;
	if (error == NULL)
		answer_batch(batch);
	else
	{
		/* One now; the others when clients have been served in between. */
		alone = batch->n - 1;
		store_alone(batch->requests[0]);
	}
}

/* Requests from the queue's beginning, all of one subscriber. */
static void
gather(SlBatch *batch)
{
	dlist_iter iter;
	int		   most = Min(sl_queue.count, sl_max_batch);
	Oid		   subscriber = InvalidOid;

	batch->requests = palloc(sizeof(SlHttpRequest *) * most);
	batch->status = palloc(sizeof(int) * most);
	dlist_foreach (iter, &sl_queue.requests)
	{
		SlHttpRequest *request = dlist_container(SlHttpRequest, node, iter.cur);
		const SlToken *token = sl_token_find(request->token_hash, request->received_at);

		if (token != NULL && !OidIsValid(subscriber))
			subscriber = token->subscriber;
		if (token == NULL || token->subscriber == subscriber)
			batch->requests[batch->n++] = request;
		if (batch->n == most)
			break;
	}
}

static void
store_gathered(SlBatch *batch)
{
	ErrorData *error;

	if (sl_now_us() < careful_until || sl_limit_was_broken())
	{
		store_carefully(batch);
		return;
	}
	error = sl_batch_run(batch);
	if (error == NULL)
		answer_batch(batch);
	else if (sl_is_trouble_of_server(error->sqlerrcode) && batch->events == 0)
		answer_trouble(batch, error);
	else
	{
		careful_until = sl_now_us() + CAREFUL_FOR_US;
		sl_batch_slow_down();
		if (error->sqlerrcode == ERRCODE_QUERY_CANCELED && batch->n_rows == 1)
		{
			batch->known_error = error;
			batch->known_request = batch->row_request;
			batch->known_event = batch->row_event;
		}
		store_carefully(batch);
	}
}

bool
sl_store_probe(void)
{
	static int64 probed_at = 0;
	static bool	 worked = false;
	int64		 now = sl_now_us();

	if (probed_at == 0 || now - probed_at > PROBE_EVERY_US)
	{
		worked = !RecoveryInProgress() && sl_try_commit();
		probed_at = now;
	}
	return worked && (trouble_since == 0 || now - trouble_since > TROUBLE_LASTS_US);
}

static void
answer_health_checks(void)
{
	dlist_mutable_iter iter;
	int				   status = sl_store_probe() ? 200 : 503;

	sl_store_wants_probe = false;
	dlist_foreach_modify (iter, &sl_queue.requests)
	{
		SlHttpRequest *request = dlist_container(SlHttpRequest, node, iter.cur);

		if (request->is_health_check)
			sl_request_answer(request, status);
	}
}

void
sl_store_batch(void)
{
	SlBatch		  batch = {0};
	MemoryContext caller;

	if (batch_context == NULL)
		batch_context =
			AllocSetContextCreate(TopMemoryContext, "smartlead batch", ALLOCSET_DEFAULT_SIZES);
	caller = MemoryContextSwitchTo(batch_context);
	if (sl_store_wants_probe)
		answer_health_checks();
	if (sl_queue.count > 0)
	{
		gather(&batch);
		if (alone > 0)
		{
			alone--;
			store_alone(batch.requests[0]);
		}
		else
			store_gathered(&batch);
	}
	MemoryContextSwitchTo(caller);
	MemoryContextReset(batch_context);
}
