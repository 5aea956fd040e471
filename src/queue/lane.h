/*
 * queue/lane.h
 *		Lanes: the jobs of one role on one connection, which share a key and hence its limits.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#ifndef SL_LANE_H
#define SL_LANE_H

#include "smartlead.h"

#include "connection/connection.h"
#include "queue/task.h"

typedef struct SlLane
{
	NameData connection;
	Oid		 run_as;

	/* What the table says, as of the last look at the lanes. */
	bool		is_paused;
	char	   *paused_version; /* of the definition that was refused */
	bool		is_known;		/* still there at the last look */
	TimestampTz next_due;		/* of the first job that is not due yet; DT_NOEND: none */

	/*
	 * How far the ready jobs have been looked through, in the order of due_at and id. What was passed
	 * over waits for an earlier job on its lead, whose end makes it a successor; so nothing has to be
	 * looked at twice, however many wait. When new jobs may have come before the cursor, the lane is
	 * dirty, and another pass follows this one.
	 */
	TimestampTz cursor_due;
	int64		cursor_id;
	bool		at_end;
	bool		is_dirty;

	/* Jobs whose turn has come because the one before them on their lead has ended. */
	int64 *successors;
	int	   n_successors;
	int	   max_successors;

	char	   *version;	/* of the connection, in this round's claims */
	int			in_flight;	/* tasks */
	int			failures;	/* times in a row that Smartlead could not be reached */
	TimestampTz not_before; /* rest after such a failure */
} SlLane;

/* The lane of that connection and role, made if it is new. */
extern SlLane *sl_lane_get(const char *connection, Oid run_as);

/* All lanes, in turn: each call of sl_lanes_begin starts with another one, so that all get theirs. */
extern int	   sl_lanes_count(void);
extern SlLane *sl_lanes_nth(int n);
extern void	   sl_lanes_rotate(void);

extern void sl_lanes_mark_dirty(void);
extern void sl_lanes_forget_unknown(void);

extern void sl_lane_add_successor(SlLane *lane, int64 job);
extern void sl_lane_rewind(SlLane *lane);

/* Which state of its server and its user mapping a lane would use now; changes with either. */
extern char *sl_lane_version(const SlLane *lane);

#endif /* SL_LANE_H */
