/*
 * queue/claim.c
 *		Which jobs are performed next, and as which tasks.
 *
 * A lane gets as many requests under way as smartlead.queue_concurrency says, but no more waiting
 * for its rate limit than the limit's smallest window lets through at once: more would gain nothing,
 * and a job that has not been claimed can still be cancelled, and is in no doubt after a crash.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "queue/claim.h"
#include "queue/join.h"
#include "queue/queue.h"
#include "queue/store.h"
#include "worker/worker.h"

/* Requests under way at once in all lanes together: what the transport has sockets for. */
#define MAX_IN_FLIGHT 120

/* Jobs looked at in one go, and how often in one round. */
#define PAGE_MIN 32
#define MAX_PAGES 8

/* When a job's row was locked by somebody else, look again after this time. */
#define LOCKED_MS 1000

/* The tasks claimed in this transaction. */
static SlTask **claimed = NULL;
static int		n_claimed = 0;
static int		max_claimed = 0;

void
sl_claim_confirm(void)
{
	n_claimed = 0;
}

void
sl_claim_undo(void)
{
	for (int i = 0; i < n_claimed; i++)
	{
		dlist_delete(&claimed[i]->node);
		claimed[i]->lane->in_flight--;
		sl_task_free(claimed[i]);
	}
	n_claimed = 0;
	for (int i = 0; i < sl_lanes_count(); i++)
		sl_lane_rewind(sl_lanes_nth(i));
}

/* ---- room ---- */

static int
count_in_flight(void)
{
	int n = 0;

	for (int i = 0; i < sl_lanes_count(); i++)
		n += sl_lanes_nth(i)->in_flight;
	return n;
}

/* How many tasks of the lane wait for the rate limit. */
static int
count_waiting(const SlLane *lane, dlist_head *in_flight)
{
	dlist_iter iter;
	int		   n = 0;

	dlist_foreach (iter, in_flight)
	{
		SlTask *task = dlist_container(SlTask, node, iter.cur);

		if (task->lane == lane &&
			(task->transfer == NULL || sl_transfer_is_waiting(task->transfer)))
			n++;
	}
	return n;
}

static bool
has_something_to_look_at(const SlLane *lane, TimestampTz now)
{
	if (lane->is_paused || lane->not_before > now)
		return false;
	return lane->n_successors > 0 || !lane->at_end || lane->is_dirty;
}

/* Before the connection is known. */
static int
room_in_lane(const SlLane *lane)
{
	int room = Min(sl_queue_concurrency - lane->in_flight, MAX_IN_FLIGHT - count_in_flight());

	/* Out of reach: one job tries whether it is back. */
	if (lane->failures > 0)
		room = Min(room, 1 - lane->in_flight);
	return room;
}

static int
room_in_windows(const SlLane *lane, const SlRateLimit *limit, dlist_head *in_flight)
{
	int smallest = INT_MAX;

	for (int i = 0; i < limit->n_windows; i++)
		smallest = Min(smallest, limit->window[i].count);
	return smallest == INT_MAX ? INT_MAX : smallest - count_waiting(lane, in_flight);
}

/* ---- whose turn it is ---- */

static int
take_successors(SlLane *lane, int64 *ids, int room)
{
	int n = Min(room, lane->n_successors);

	memcpy(ids, lane->successors, sizeof(int64) * n);
	lane->n_successors -= n;
	memmove(lane->successors, lane->successors + n, sizeof(int64) * lane->n_successors);
	return n;
}

/* The next free jobs behind the cursor, which moves on behind the last one looked at. */
static int
take_page(SlLane *lane, TimestampTz now, int64 *ids, int room)
{
	int			 page = Max(PAGE_MIN, room * 2);
	int			 n_found, i;
	int			 n = 0;
	SlCandidate *found = sl_store_candidates(lane, now, page, &n_found);

	for (i = 0; i < n_found && n < room; i++)
	{
		lane->cursor_due = found[i].due_at;
		lane->cursor_id = found[i].id;
		if (!found[i].is_blocked)
			ids[n++] = found[i].id;
	}
	lane->at_end = i == n_found && n_found < page;
	pfree(found);
	return n;
}

static int
take_jobs(SlLane *lane, TimestampTz now, int64 *ids, int room)
{
	int n = lane->n_successors > 0 ? take_successors(lane, ids, room) : 0;

	for (int page = 0; page < MAX_PAGES && n < room; page++)
	{
		if (lane->at_end && !lane->is_dirty)
			break;
		if (lane->at_end)
			sl_lane_rewind(lane);
		n += take_page(lane, now, ids + n, room - n);
	}
	return n;
}

/* ---- tasks ---- */

/* A lane whose connection is looked up. */
typedef struct Resolving
{
	const SlLane *lane;
	SlConnection *connection;
} Resolving;

static void
resolve_connection(void *argument)
{
	Resolving *resolving = argument;

	resolving->connection =
		sl_connection_resolve(NameStr(resolving->lane->connection), resolving->lane->run_as);
}

/* The lane's connection; or NULL with an error, when its role has no right or key any more. */
static SlConnection *
resolve(const SlLane *lane, ErrorData **error)
{
	Resolving resolving = {lane, NULL};

	*error = sl_attempt(resolve_connection, &resolving);
	return resolving.connection;
}

static SlTask *
add_task(MemoryContext parent, SlLane *lane, const SlConnection *connection, const SlJob *job,
		 dlist_head *in_flight)
{
	SlTask *task = sl_task_create(parent, connection, job);

	task->lane = lane;
	task->version = MemoryContextStrdup(task->context, lane->version);
	lane->in_flight++;
	dlist_push_tail(in_flight, &task->node);
	if (n_claimed == max_claimed)
	{
		max_claimed = Max(max_claimed * 2, MAX_IN_FLIGHT);
		claimed = claimed == NULL
					  ? MemoryContextAlloc(TopMemoryContext, sizeof(SlTask *) * max_claimed)
					  : repalloc(claimed, sizeof(SlTask *) * max_claimed);
	}
	claimed[n_claimed++] = task;
	return task;
}

/* Tasks for jobs; those from the claim number "first" on may be shared. */
static void
add_tasks(MemoryContext parent, SlLane *lane, const SlConnection *connection, const SlJob *jobs,
		  int n_jobs, int first, dlist_head *in_flight)
{
	for (int i = 0; i < n_jobs; i++)
	{
		bool joined = false;

		for (int j = first; j < n_claimed && jobs[i].join_key != NULL && !joined; j++)
			joined = sl_task_join(claimed[j], &jobs[i]);
		if (!joined)
			add_task(parent, lane, connection, &jobs[i], in_flight);
	}
}

/* Fills up a request that can be shared with the other jobs that wait for the like. */
static void
add_siblings(MemoryContext parent, SlLane *lane, SlTask *task, TimestampTz now, int first,
			 dlist_head *in_flight)
{
	const char *key = task->jobs[0].join_key;
	int			n_ids, n;
	int64	   *ids;
	SlJob	   *jobs;

	if (key == NULL || task->result.verdict != SL_UNDECIDED || task->n_jobs >= SL_JOIN_MAX)
		return;
	ids = sl_store_siblings(lane, key, now, SL_JOIN_MAX - task->n_jobs, &n_ids);
	if (n_ids == 0)
		return;
	jobs = sl_store_claim(ids, n_ids, &n);
	add_tasks(parent, lane, task->connection, jobs, n, first, in_flight);
}

/* The role may not, or has no key: the first job says so, the others wait until that changes. */
static void
refuse_lane(MemoryContext parent, SlLane *lane, const ErrorData *error, TimestampTz now,
			dlist_head *in_flight)
{
	SlConnection nowhere = {.name = "", .base_url = "", .api_key = ""};
	int64		 id;
	int			 n;
	SlJob		*jobs;
	SlTask		*task;

	if (take_jobs(lane, now, &id, 1) == 0)
		return;
	jobs = sl_store_claim(&id, 1, &n);
	if (n == 0)
		return;
	task = add_task(parent, lane, &nowhere, jobs, in_flight);
	task->result.verdict = SL_REFUSED_KEY;
	task->result.sqlstate = error->sqlerrcode;
	task->result.error = MemoryContextStrdup(task->context, error->message);
}

/*
 * True: there is room for more, and there may be more. Then shared requests, or pages without a free
 * job, have left the room.
 */
static bool
claim_in_lane(MemoryContext parent, SlLane *lane, int room, TimestampTz now, dlist_head *in_flight)
{
	ErrorData	 *error = NULL;
	SlConnection *connection;
	int			  first = n_claimed;
	int64		 *ids;
	int			  n_ids, n;
	SlJob		 *jobs;

	/* The version first: if the definition changes in between, it is resolved once more in vain. */
	lane->version = sl_lane_version(lane);
	connection = resolve(lane, &error);
	if (connection == NULL)
	{
		refuse_lane(parent, lane, error, now, in_flight);
		return false;
	}
	room = Min(room, room_in_windows(lane, &connection->rate_limit, in_flight));
	if (room <= 0)
		return false;
	ids = palloc(sizeof(int64) * room);
	n_ids = take_jobs(lane, now, ids, room);
	if (n_ids > 0)
	{
		jobs = sl_store_claim(ids, n_ids, &n);
		/* Cancelled meanwhile, or locked by somebody who may leave it as it is. */
		if (n < n_ids)
			lane->next_due = Min(lane->next_due, TimestampTzPlusMilliseconds(now, LOCKED_MS));
		add_tasks(parent, lane, connection, jobs, n, first, in_flight);
	}
	for (int i = first, end = n_claimed; i < end; i++)
		add_siblings(parent, lane, claimed[i], now, first, in_flight);
	for (int i = first; i < n_claimed; i++)
		sl_task_prepare(claimed[i]);
	return n_claimed - first < room && has_something_to_look_at(lane, now);
}

bool
sl_claim_jobs(MemoryContext parent, dlist_head *in_flight, TimestampTz now)
{
	bool more = false;

	/* Each time another lane is served first, so that all get their share of what is left. */
	sl_lanes_rotate();
	for (int i = 0; i < sl_lanes_count(); i++)
	{
		SlLane *lane = sl_lanes_nth(i);
		int		room = room_in_lane(lane);

		if (room > 0 && has_something_to_look_at(lane, now) &&
			claim_in_lane(parent, lane, room, now, in_flight))
			more = true;
	}
	return more;
}
