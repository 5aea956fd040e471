/*
 * queue/lane.c
 *		Lanes: the jobs of one role on one connection, which share a key and hence its limits.
 *
 * A connection that is slow, throttled, out of reach or refused must not hold up the others, so the
 * dispatcher serves each lane by itself.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "access/htup_details.h"
#include "foreign/foreign.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "api/problem.h"
#include "queue/lane.h"
#include "queue/trouble.h"
#include "worker/worker.h"

static SlLane **lanes = NULL;
static int		n_lanes = 0;
static int		max_lanes = 0;
static int		first_lane = 0;

static SlLane *
add_lane(const char *connection, Oid run_as)
{
	MemoryContext caller = MemoryContextSwitchTo(TopMemoryContext);
	SlLane		 *lane = palloc0(sizeof(SlLane));

	namestrcpy(&lane->connection, connection);
	lane->run_as = run_as;
	lane->next_due = DT_NOEND;
	for (int i = 0; i < SL_N_TURNS; i++)
		lane->turns[i].at_end = true;
	if (n_lanes == max_lanes)
	{
		max_lanes = Max(max_lanes * 2, 16);
		lanes = lanes == NULL ? palloc(sizeof(SlLane *) * max_lanes)
							  : repalloc(lanes, sizeof(SlLane *) * max_lanes);
	}
	lanes[n_lanes++] = lane;
	MemoryContextSwitchTo(caller);
	return lane;
}

SlLane *
sl_lane_get(const char *connection, Oid run_as)
{
	for (int i = 0; i < n_lanes; i++)
		if (lanes[i]->run_as == run_as && strcmp(NameStr(lanes[i]->connection), connection) == 0)
			return lanes[i];
	return add_lane(connection, run_as);
}

int
sl_lanes_count(void)
{
	return n_lanes;
}

SlLane *
sl_lanes_nth(int n)
{
	return lanes[(first_lane + n) % n_lanes];
}

void
sl_lanes_rotate(void)
{
	first_lane = n_lanes > 0 ? (first_lane + 1) % n_lanes : 0;
}

bool
sl_lanes_lack_role(void)
{
	for (int i = 0; i < n_lanes; i++)
		if (lanes[i]->is_known && !OidIsValid(lanes[i]->run_as))
			return true;
	return false;
}

static void
free_lane(SlLane *lane)
{
	if (lane->successors != NULL)
		pfree(lane->successors);
	if (lane->paused_version != NULL)
		pfree(lane->paused_version);
	if (lane->actions_through != NULL)
		pfree(lane->actions_through);
	pfree(lane);
}

/* Lanes without ready jobs go, unless a task still refers to them. Whose turn it is stays. */
void
sl_lanes_forget_unknown(void)
{
	int kept = 0;
	int first = 0;

	for (int i = 0; i < n_lanes; i++)
	{
		if (i == first_lane)
			first = kept;
		if (lanes[i]->is_known || lanes[i]->in_flight > 0 || lanes[i]->n_results > 0)
			lanes[kept++] = lanes[i];
		else
			free_lane(lanes[i]);
	}
	n_lanes = kept;
	first_lane = kept > 0 ? first % kept : 0;
}

void
sl_lanes_forget_times(void)
{
	for (int i = 0; i < n_lanes; i++)
	{
		lanes[i]->not_before = lanes[i]->trouble_at = lanes[i]->through_at = 0;
		if (lanes[i]->probe_at != DT_NOEND)
			lanes[i]->probe_at = 0;
		if (lanes[i]->actions_through != NULL)
			pfree(lanes[i]->actions_through);
		lanes[i]->actions_through = NULL;
	}
}

void
sl_lane_add_successor(SlLane *lane, int64 job, int priority)
{
	int place = lane->n_successors;

	if (lane->n_successors == lane->max_successors)
	{
		lane->max_successors = Max(lane->max_successors * 2, 64);
		lane->successors =
			lane->successors == NULL
				? MemoryContextAlloc(TopMemoryContext, sizeof(SlSuccessor) * lane->max_successors)
				: repalloc(lane->successors, sizeof(SlSuccessor) * lane->max_successors);
	}
	for (; place > 0 && lane->successors[place - 1].priority > priority; place--)
		lane->successors[place] = lane->successors[place - 1];
	lane->successors[place].job = job;
	lane->successors[place].priority = priority;
	lane->n_successors++;
}

void
sl_turn_rewind(SlTurn *turn)
{
	turn->cursor_due = DT_NOBEGIN;
	turn->cursor_id = 0;
	turn->at_end = false;
	turn->is_dirty = false;
}

void
sl_lane_rewind(SlLane *lane)
{
	for (int i = 0; i < SL_N_TURNS; i++)
		sl_turn_rewind(&lane->turns[i]);
}

void
sl_lane_rewind_retries(SlLane *lane)
{
	for (int i = 0; i < SL_N_TURNS; i++)
		if (!SL_TURN_IS_NEW(i))
			sl_turn_rewind(&lane->turns[i]);
}

bool
sl_lane_has_work(const SlLane *lane)
{
	for (int i = 0; i < SL_N_TURNS; i++)
		if (!lane->turns[i].at_end || lane->turns[i].is_dirty)
			return true;
	return lane->n_successors > 0;
}

char *
sl_lane_what_is_gone(const SlLane *lane)
{
	if (!SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(lane->run_as)))
		return psprintf("the role of the job, with the number %u, does not exist any more",
						lane->run_as);
	if (!OidIsValid(get_foreign_server_oid(NameStr(lane->connection), true)))
		return psprintf("server \"%s\" does not exist any more", NameStr(lane->connection));
	return NULL;
}

/* The transaction that wrote a catalog row, or "none". */
static char *
row_version(HeapTuple tuple)
{
	char *version = "none";

	if (HeapTupleIsValid(tuple))
	{
		version = psprintf("%u/%u", HeapTupleHeaderGetRawXmin(tuple->t_data),
						   ItemPointerGetBlockNumberNoCheck(&tuple->t_self) * 1000 +
							   ItemPointerGetOffsetNumberNoCheck(&tuple->t_self));
		ReleaseSysCache(tuple);
	}
	return version;
}

static HeapTuple
mapping_tuple(Oid server, Oid user)
{
	HeapTuple tuple =
		SearchSysCache2(USERMAPPINGUSERSERVER, ObjectIdGetDatum(user), ObjectIdGetDatum(server));

	if (!HeapTupleIsValid(tuple))
		tuple = SearchSysCache2(USERMAPPINGUSERSERVER, ObjectIdGetDatum(InvalidOid),
								ObjectIdGetDatum(server));
	return tuple;
}

char *
sl_lane_version(const SlLane *lane)
{
	Oid	  server = get_foreign_server_oid(NameStr(lane->connection), true);
	char *mapping;

	if (!OidIsValid(server))
		return pstrdup("none");
	mapping = row_version(mapping_tuple(server, lane->run_as));
	return psprintf(
		"%s %s", row_version(SearchSysCache1(FOREIGNSERVEROID, ObjectIdGetDatum(server))), mapping);
}

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

SlConnection *
sl_lane_resolve(const SlLane *lane, ErrorData **error)
{
	Resolving resolving = {lane, NULL};

	*error = sl_attempt(resolve_connection, &resolving);
	return resolving.connection;
}

static void
remember_version(SlLane *lane, const char *version)
{
	if (lane->paused_version != NULL)
		pfree(lane->paused_version);
	lane->paused_version = version != NULL ? MemoryContextStrdup(TopMemoryContext, version) : NULL;
}

void
sl_lane_pause(SlLane *lane, const char *version, int sqlstate)
{
	bool refused = sqlstate == SL_ERRCODE_BAD_KEY || sqlstate == SL_ERRCODE_NO_PERMISSION;

	remember_version(lane, version);
	if (lane->is_paused)
		return;
	lane->is_paused = true;
	lane->probes = 0;
	lane->probe_at = DT_NOEND;
	if (refused)
		sl_trouble_put_off_probe(lane, GetCurrentTimestamp());
}

void
sl_lane_unpause(SlLane *lane)
{
	remember_version(lane, NULL);
	lane->is_paused = lane->is_unwritten = false;
}
