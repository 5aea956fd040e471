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
#include "queue/trouble.h"
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

/* Jobs looked at in one go, and how often in one round, beside once in each turn. */
#define PAGE_MIN 32
#define MAX_PAGES 8

/* When a job's row was locked by somebody else, look again after this time. */
#define LOCKED_MS 1000

/* The tasks claimed in this transaction. */
static SlTask **claimed = NULL;
static int		n_claimed = 0;
static int		max_claimed = 0;

void
sl_claim_confirm(bool is_safe)
{
	for (int i = 0; i < n_claimed && !is_safe; i++)
		claimed[i]->result.verdict = SL_GIVE_BACK;
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

/* What the lanes have under way: how much of it waits for the rate limit alone, and so on. */
static void
look_at_tasks(dlist_head *in_flight)
{
	dlist_iter iter;

	for (int i = 0; i < sl_lanes_count(); i++)
	{
		SlLane *lane = sl_lanes_nth(i);

		lane->n_waiting = lane->n_tried = 0;
		lane->is_probing = false;
	}
	dlist_foreach (iter, in_flight)
	{
		SlTask *task = dlist_container(SlTask, node, iter.cur);
		SlLane *lane = task->lane;

		if (task->transfer != NULL && sl_transfer_is_waiting(task->transfer))
			lane->n_waiting++;
		if (task->is_probe)
			lane->is_probing = true;
		else if (task->claimed_at >= lane->trouble_at)
			lane->n_tried++;
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
	if (lane->is_paused || lane->not_before > now || !OidIsValid(lane->run_as))
		return false;
	if (sl_trouble_lasts(lane) && lane->needs_probe)
		return false;
	return sl_lane_has_work(lane);
}

/* Before the connection is known. */
static int
room_in_lane(const SlLane *lane)
{
	int share = Max(MAX_IN_FLIGHT - count_in_flight(), OWN_SHARE - lane->in_flight);
	int room = Min(sl_queue_concurrency - lane->in_flight, share);

	if (sl_trouble_lasts(lane))
		room = Min(room, 1 - lane->n_tried);
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
		/* However many wait in the turns before: new ones may come there faster than they are read. */
		pages = Max(pages, 1);
		choose_in_turn(lane, turn, now, &pages, &choice);
	}
	return choice.n;
}

/* ---- tasks ---- */

static void
add_task(SlLane *lane, SlTask *task, TimestampTz now, dlist_head *in_flight)
{
	task->lane = lane;
	task->claimed_at = now;
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
}

/* Tasks for jobs; those from the claim number "first" on may be shared. */
static void
add_tasks(MemoryContext parent, SlLane *lane, const SlConnection *connection, const SlJob *jobs,
		  int n_jobs, int first, TimestampTz now, dlist_head *in_flight)
{
	for (int i = 0; i < n_jobs; i++)
	{
		bool joined = false;

		for (int j = first; j < n_claimed && jobs[i].join_key != NULL && !joined; j++)
			joined = sl_task_join(claimed[j], &jobs[i]);
		if (!joined)
			add_task(lane, sl_task_create(parent, connection, &jobs[i]), now, in_flight);
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
	add_tasks(parent, lane, task->connection, jobs, n, first, now, in_flight);
}

/* The connection as the lane may use it now; NULL: it may not, and is paused. */
static SlConnection *
connect_lane(SlLane *lane)
{
	ErrorData	 *error;
	SlConnection *connection;

	/* The version first: if the definition changes in between, it is resolved once more in vain. */
	lane->version = sl_lane_version(lane);
	connection = sl_lane_resolve(lane, &error);
	if (connection == NULL && !lane->is_paused)
		sl_store_pause(lane, error->message, error->sqlerrcode, lane->version);
	return connection;
}

static void
send_probe(MemoryContext parent, SlLane *lane, TimestampTz now, dlist_head *in_flight)
{
	SlConnection *connection = connect_lane(lane);
	SlTask		 *probe;

	if (connection == NULL)
	{
		sl_trouble_put_off_probe(lane, now);
		return;
	}
	probe = sl_task_create_probe(parent, connection);
	add_task(lane, probe, now, in_flight);
	lane->is_probing = true;
	sl_task_prepare(probe);
}

/*
 * True: there is room for more, and there may be more. Then shared requests, or pages without a free
 * job, have left the room.
 */
static bool
claim_in_lane(MemoryContext parent, SlLane *lane, int room, TimestampTz now, dlist_head *in_flight)
{
	SlConnection *connection;
	int			  first = n_claimed;
	int64		 *ids;
	int			  n_ids, n;
	bool		  is_throttled;
	SlJob		 *jobs;
	char		 *gone = sl_lane_what_is_gone(lane);

	if (gone != NULL)
		return sl_store_fail_orphans(lane, gone, now);
	connection = connect_lane(lane);
	if (connection == NULL)
		return false;
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
		add_tasks(parent, lane, connection, jobs, n, first, now, in_flight);
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

	look_at_tasks(in_flight);
	/* Each time another lane is served first, so that all get their share of what is left. */
	sl_lanes_rotate();
	for (int i = 0; i < sl_lanes_count(); i++)
	{
		SlLane *lane = sl_lanes_nth(i);
		int		room = room_in_lane(lane);

		if (sl_trouble_wants_probe(lane, now))
			send_probe(parent, lane, now, in_flight);
		else if (room > 0 && has_something_to_look_at(lane, now) &&
				 claim_in_lane(parent, lane, room, now, in_flight))
			more = true;
	}
	return more;
}
