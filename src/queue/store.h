/*
 * queue/store.h
 *		What the dispatcher reads and writes in the queue's tables. All of it in its transactions.
 *
 * Each part is a file of its own, with its statements; statement.c runs them.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#ifndef SL_STORE_H
#define SL_STORE_H

#include "smartlead.h"

#include "queue/lane.h"
#include "queue/task.h"

/* ---- statement.c ---- */

/* Finds the extension's tables. False: they are not there (any more). */
extern bool sl_store_open(void);

/* The schema in which it found them. */
extern Oid sl_store_schema(void);

/* ---- origin.c ---- */

/* From where the queue was copied; NULL: it is at home. */
extern char *sl_store_foreign_home(void);

/* Makes itself at home where nothing but an unused queue was copied. True: it has. */
extern bool sl_store_settle(void);

/* Gives jobs whose role was missing to the role that has come. True: some. */
extern bool sl_store_bind_roles(void);

/* ---- lane_rows.c ---- */

/* Looks which lanes have ready jobs, and when the next ones are due. */
extern void sl_store_read_lanes(TimestampTz now);

/*
 * Pauses a lane whose role has no right or key, or whose key is refused in this version; lets it go
 * on. What can't be written is noted: then a pause holds in memory alone, and one that is there stays.
 */
extern void sl_store_pause(SlLane *lane, const char *reason, int sqlstate, const char *version);
extern void sl_store_resume(SlLane *lane);

/* Ends some due jobs of a lane whose role or server is gone. True: there may be more. */
extern bool sl_store_fail_orphans(const SlLane *lane, const char *why, TimestampTz now);

/* ---- next.c ---- */

/* A ready job that is due, in its order. */
typedef struct SlCandidate
{
	int64		id;
	TimestampTz due_at;
	bool		is_blocked; /* by an earlier job on its lead */
	int64 instead; /* then the first job on that lead, if it is less urgent and can run; or 0 */
} SlCandidate;

/* The due jobs of a lane's turn behind its cursor; palloc'd. */
extern SlCandidate *sl_store_candidates(const SlLane *lane, int turn, TimestampTz now, int max,
										int *n);

/* Marks jobs as running, as far as they still are ready and first on their leads. Palloc'd. */
extern SlJob *sl_store_claim(const int64 *ids, int n_ids, int *n);

/*
 * Writes the lead that the task's completion has found into its job's row, by which the job joins the
 * order on that lead. True: an earlier one has not ended.
 */
extern bool sl_store_learn_lead(SlTask *task);

/* Due jobs that may share the request of jobs with this key. */
extern int64 *sl_store_siblings(const SlLane *lane, const char *join_key, TimestampTz now, int max,
								int *n);

/* Makes the next jobs on the leads of these tasks successors in their lanes. */
extern void sl_store_successors(SlTask *const *tasks, int n_tasks, TimestampTz now);

/* ---- outcome.c ---- */

/*
 * Writes what came of a task into its jobs' rows, as far as nobody else has them locked. True: into
 * some. Once the transaction has ended, it is confirmed (true: nothing is left to write) or undone.
 */
extern bool sl_store_write(SlTask *task);
extern bool sl_store_confirm(SlTask *task);
extern void sl_store_undo(SlTask *task);

/* ---- left_behind.c ---- */

/*
 * Jobs that a dispatcher left behind when it died: ready again where that is safe, else failed. What
 * somebody has locked is left for the next call. Once the transaction has committed, the
 * confirmation says whether that was all.
 */
extern void sl_store_recover(void);
extern bool sl_store_confirm_recovery(void);

/* ---- care.c ---- */

/* With care, each row is written in a subtransaction, so that one that can't be stands alone. */
extern void sl_store_be_careful(bool careful);
extern bool sl_store_is_careful(void);

/* What could not be done, for people to see; NULL as the error: it goes well again. */
typedef enum SlStoreTrouble
{
	SL_ROW_TROUBLE,
	SL_HOUSEKEEPING_TROUBLE,
	SL_TROUBLES
} SlStoreTrouble;

extern void		   sl_store_note(SlStoreTrouble kind, const char *what, const ErrorData *error);
extern const char *sl_store_trouble(void);

/* How often that was noted since the last call of sl_store_be_careful(). */
extern int sl_store_noted(void);

/* ---- expiry.c ---- */

/* Deletes some jobs that ended long ago, as far as they can be. True: there may be more. */
extern bool sl_store_expire(void);

#endif /* SL_STORE_H */
