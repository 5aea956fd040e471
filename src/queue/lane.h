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
#include "queue/queue.h"
#include "queue/task.h"

/*
 * The jobs of a lane are served by turns: by priority, and of a priority what is tried again before
 * what is new.
 */
#define SL_N_TURNS (2 * (SL_PRIORITY_LAST - SL_PRIORITY_FIRST + 1))
#define SL_TURN(priority, is_new) (2 * ((priority) -SL_PRIORITY_FIRST) + ((is_new) ? 1 : 0))
#define SL_TURN_PRIORITY(turn) ((turn) / 2 + SL_PRIORITY_FIRST)
#define SL_TURN_IS_NEW(turn) ((turn) % 2 == 1)

/*
 * How far the ready jobs of a turn have been looked through, in the order of due_at and id. What was
 * passed over waits for an earlier job on its lead, whose end makes it a successor; so nothing has
 * to be looked at twice, however many wait. When new jobs may have come before the cursor, the turn
 * is dirty, and another pass follows this one.
 */
typedef struct SlTurn
{
	TimestampTz cursor_due;
	int64		cursor_id;
	bool		at_end;
	bool		is_dirty;
} SlTurn;

/* A job whose turn has come because the one before it on its lead has ended. */
typedef struct SlSuccessor
{
	int64 job;
	int	  priority; /* of the most urgent one that waits on its lead */
} SlSuccessor;

typedef struct SlLane
{
	NameData connection;
	Oid		 run_as;

	/* What the table says, as of the last look at the lanes. */
	bool		is_paused;		/* for a key that is refused, or for want of one or of a right */
	bool		is_unwritten;	/* the pause: its row could not be written */
	char	   *paused_version; /* of the definition that was refused */
	bool		is_known;		/* still there at the last look */
	TimestampTz next_due;		/* of the first job that is not due yet; DT_NOEND: none */
	int			first_priority; /* of the ready jobs ... */
	bool		has_priorities; /* ... and whether there are others */

	SlTurn		 turns[SL_N_TURNS];
	SlSuccessor *successors; /* the most urgent ones first */
	int			 n_successors;
	int			 max_successors;

	char *version;	  /* of the connection, in this round's claims */
	int	  in_flight;  /* tasks */
	int	  n_results;  /* tasks that have ended and are not written yet */
	int	  n_waiting;  /* of them, for the rate limit alone; as of the last claims */
	int	  n_tried;	  /* tasks claimed since the trouble was last seen */
	bool  is_probing; /* one of the tasks is a probe */

	/* See trouble.c. */
	int			 failures;		  /* times in a row that nothing got through; 0: no trouble */
	TimestampTz	 trouble_at;	  /* when that was last seen */
	TimestampTz	 not_before;	  /* rest until then */
	bool		 needs_probe;	  /* before the next job is tried */
	int			 probes;		  /* since the lane was paused ... */
	TimestampTz	 probe_at;		  /* ... and when the next one is due; DT_NOEND: none will help */
	TimestampTz	 through_at;	  /* when something last got through */
	TimestampTz *actions_through; /* the same for each endpoint; or NULL */
} SlLane;

/* The lane of that connection and role, made if it is new. */
extern SlLane *sl_lane_get(const char *connection, Oid run_as);

/* All lanes, in turn: each call of sl_lanes_begin starts with another one, so that all get theirs. */
extern int	   sl_lanes_count(void);
extern SlLane *sl_lanes_nth(int n);
extern void	   sl_lanes_rotate(void);

/* Does a lane wait for a role that was missing when a dump was loaded? */
extern bool sl_lanes_lack_role(void);
extern void sl_lanes_forget_unknown(void);

/* The clock was set back: nothing waits for a time that it was to show long ago. */
extern void sl_lanes_forget_times(void);

extern void sl_lane_add_successor(SlLane *lane, int64 job, int priority);

/* All turns, or one, are looked through from the beginning. */
extern void sl_lane_rewind(SlLane *lane);
extern void sl_turn_rewind(SlTurn *turn);
extern void sl_lane_rewind_retries(SlLane *lane);

/* Is there a turn that has not been looked through, or a successor? */
extern bool sl_lane_has_work(const SlLane *lane);

/* Why nothing of the lane can ever be performed: its role or server has been dropped; or NULL. */
extern char *sl_lane_what_is_gone(const SlLane *lane);

/* Which state of its server and its user mapping a lane would use now; changes with either. */
extern char *sl_lane_version(const SlLane *lane);

/* The lane's connection; or NULL with an error, when its role has no right or key any more. */
extern SlConnection *sl_lane_resolve(const SlLane *lane, ErrorData **error);

/* Jobs of the lane wait until something changes that its role or its key has to do with. */
extern void sl_lane_pause(SlLane *lane, const char *version, int sqlstate);
extern void sl_lane_unpause(SlLane *lane);

#endif /* SL_LANE_H */
