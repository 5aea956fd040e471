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

/*
 * Requests under way at once in all lanes together: what the transport has sockets for, less some. A
 * lane that has fewer than its own share under way may begin one however many others have, so that
 * a few connections that don't answer hold up nobody else.
 */
#define MAX_IN_FLIGHT 96
#define OWN_SHARE 2

/* Transfers that wait for their limits, in all lanes together; each lane has room for one. */
#define MAX_WAITING 120

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

/* How much of what the lanes have under way waits for the rate limit alone. */
static void
count_waiting(dlist_head *in_flight)
{
	dlist_iter iter;

	for (int i = 0; i < sl_lanes_count(); i++)
		sl_lanes_nth(i)->n_waiting = 0;
	dlist_foreach (iter, in_flight)
	{
		SlTask *task = dlist_container(SlTask, node, iter.cur);

		if (task->transfer != NULL && sl_transfer_is_waiting(task->transfer))
			task->lane->n_waiting++;
	}
}

/* What waits holds up nobody else. */
static int
count_in_flight(void)
{
	int n = 0;

	for (int i = 0; i < sl_lanes_count(); i++)
		n += sl_lanes_nth(i)->in_flight - sl_lanes_nth(i)->n_waiting;
	return n;
}

static bool
has_something_to_look_at(const SlLane *lane, TimestampTz now)
{
	return !lane->is_paused && lane->not_before <= now && OidIsValid(lane->run_as) &&
		   sl_lane_has_work(lane);
}

/* Before the connection is known. */
static int
room_in_lane(const SlLane *lane)
{
	int share = Max(MAX_IN_FLIGHT - count_in_flight(), OWN_SHARE - lane->in_flight);
	int room = Min(sl_queue_concurrency - lane->in_flight, share);

	/* Out of reach: one job tries whether it is back. */
	if (lane->failures > 0)
		room = Min(room, 1 - lane->in_flight);
	return room;
}

static int
room_in_windows(const SlLane *lane, const SlRateLimit *limit)
{
	int smallest = Max(1, MAX_WAITING / sl_lanes_count());

	if (limit->n_windows == 0)
		return INT_MAX;
	for (int i = 0; i < limit->n_windows; i++)
		smallest = Min(smallest, limit->window[i].count);
	return smallest - lane->n_waiting;
}

/* ---- whose turn it is ---- */

/* Jobs chosen to be claimed. */
typedef struct Choice
{
	int64 *ids;
	int	   n;
	int	   room;
} Choice;

static void
choose(Choice *choice, int64 id)
{
	for (int i = 0; i < choice->n; i++)
		if (choice->ids[i] == id)
			return;
	choice->ids[choice->n++] = id;
}

/* Successors whose leads wait with this priority, or with a more urgent one. */
static void
choose_successors(SlLane *lane, int priority, Choice *choice)
{
	int n = 0;

	while (n < lane->n_successors && choice->n < choice->room &&
		   lane->successors[n].priority <= priority)
		choose(choice, lane->successors[n++].job);
	lane->n_successors -= n;
	memmove(lane->successors, lane->successors + n, sizeof(SlSuccessor) * lane->n_successors);
}

/* The next free jobs behind the turn's cursor, which moves on behind the last one looked at. */
static void
choose_from_page(SlLane *lane, int number, TimestampTz now, Choice *choice)
{
	SlTurn		*turn = &lane->turns[number];
	int			 page = Max(PAGE_MIN, (choice->room - choice->n) * 2);
	int			 n_found, i;
	SlCandidate *found = sl_store_candidates(lane, number, now, page, &n_found);

	for (i = 0; i < n_found && choice->n < choice->room; i++)
	{
		turn->cursor_due = found[i].due_at;
		turn->cursor_id = found[i].id;
		if (!found[i].is_blocked)
			choose(choice, found[i].id);
		else if (found[i].instead != 0)
			choose(choice, found[i].instead);
	}
	turn->at_end = i == n_found && n_found < page;
	pfree(found);
}

static void
choose_in_turn(SlLane *lane, int number, TimestampTz now, int *pages, Choice *choice)
{
	SlTurn *turn = &lane->turns[number];

	for (; *pages > 0 && choice->n < choice->room; (*pages)--)
	{
		if (turn->at_end && !turn->is_dirty)
			break;
		if (turn->at_end)
			sl_turn_rewind(turn);
		choose_from_page(lane, number, now, choice);
	}
}

static int
take_jobs(SlLane *lane, TimestampTz now, int64 *ids, int room)
{
	Choice choice = {ids, 0, room};
	int	   pages = MAX_PAGES;

	for (int turn = 0; turn < SL_N_TURNS; turn++)
	{
		if (SL_TURN_IS_NEW(turn))
			choose_successors(lane, SL_TURN_PRIORITY(turn), &choice);
		choose_in_turn(lane, turn, now, &pages, &choice);
	}
	return choice.n;
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
	bool		  is_throttled;
	SlJob		 *jobs;
	char		 *gone = sl_lane_what_is_gone(lane);

	if (gone != NULL)
		return sl_store_fail_orphans(lane, gone);
	/* The version first: if the definition changes in between, it is resolved once more in vain. */
	lane->version = sl_lane_version(lane);
	connection = resolve(lane, &error);
	if (connection == NULL)
	{
		refuse_lane(parent, lane, error, now, in_flight);
		return false;
	}
	is_throttled = room_in_windows(lane, &connection->rate_limit) < room;
	if (is_throttled)
		room = room_in_windows(lane, &connection->rate_limit);
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
	/* Perhaps the limit lets them all through at once, and more. */
	return (is_throttled || n_claimed - first < room) && has_something_to_look_at(lane, now);
}

bool
sl_claim_jobs(MemoryContext parent, dlist_head *in_flight, TimestampTz now)
{
	bool more = false;

	count_waiting(in_flight);
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
