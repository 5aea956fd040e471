/*
 * queue/queue.h
 *		The queue: jobs in a table, written in the caller's transaction, performed after its commit.
 *
 * The way of a job: enqueue.c (checked, with rights.c, and written; for an event, by automations.c
 * with template.c) → wakeup.c (the commit wakes the dispatcher) → lane_rows.c and lane.c (which roles
 * and connections have jobs) → claim.c with next.c (which are next, marked as running) → task.c and
 * join.c (a request for one, or for several) → api, http → flight.c (answers, and what they tell of
 * the lane: trouble.c) → outcome.c (into the job's row) → wakeup.c (whoever waits is told) → expiry.c
 * (it goes). dispatcher.c is the main loop, round.c what it does in one of its transactions
 * (transaction.c). left_behind.c judges what a crash has interrupted; origin.c and home.c keep a copy
 * of the queue from doing the same again. manage.c has what users do with jobs.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#ifndef SL_QUEUE_H
#define SL_QUEUE_H

#include "smartlead.h"

#include "utils/jsonb.h"

#define SL_QUEUE_TABLE "smartlead_queue"
#define SL_QUEUE_SEQUENCE "smartlead_queue_id_seq"
#define SL_PAUSED_TABLE "smartlead_queue_paused"

/* 1 goes first. */
#define SL_PRIORITY_FIRST 1
#define SL_PRIORITY_LAST 9

struct SlArguments;

/* The columns of the table, in the order of sql/parts/50-queue.sql. */
typedef enum SlQueueColumn
{
	SL_JOB_ID = 1,
	SL_JOB_STATE,
	SL_JOB_ACTION,
	SL_JOB_ARGS,
	SL_JOB_CONNECTION,
	SL_JOB_RUN_AS,
	SL_JOB_LEAD_ID,
	SL_JOB_JOIN_KEY,
	SL_JOB_PRIORITY,
	SL_JOB_RUN_AT,
	SL_JOB_DUE_AT,
	SL_JOB_ATTEMPTS,
	SL_JOB_FAILURES,
	SL_JOB_IN_DOUBT,
	SL_JOB_REQUESTS_SHARED,
	SL_JOB_RESPONSE,
	SL_JOB_LAST_ERROR,
	SL_JOB_SQLSTATE,
	SL_JOB_AUTOMATION_ID,
	SL_JOB_EVENT_ID,
	SL_JOB_EVENT_SUBJECT,
	SL_JOB_CREATED_AT,
	SL_JOB_STARTED_AT,
	SL_JOB_FINISHED_AT,
	SL_JOB_RUN_AS_NAME /* the last that a new row is given; the others have defaults */
} SlQueueColumn;

/* A job to be. */
typedef struct SlNewJob
{
	const char *action;
	Jsonb	   *args;
	const char *connection; /* NULL: the default of run_as; never NULL with a failure */
	Oid			run_as;
	TimestampTz run_at;	  /* 0: at once */
	int			priority; /* 0: the action's own */

	/* For a job of an automation; 0 and NULL for others. */
	int64		automation_id;
	int64		event_id;
	const char *event_subject;

	/* Not NULL: it can't be performed. The row goes straight to the dead letter, unchecked. */
	const ErrorData *failure;
} SlNewJob;

/* enqueue.c: checks the job, unless it has failed already, and writes its row. Returns its number. */
extern int64 sl_queue_enqueue(Oid schema, const SlNewJob *job);

/* The check alone. Throws, or returns the connection's name and the arguments. */
extern const char *sl_queue_check(Oid schema, const SlNewJob *job, struct SlArguments **arguments);

/* The same for arguments with templates: their names, and what is constant in them. */
extern void sl_queue_check_template(Oid schema, const SlNewJob *job);

/* The lead that an action is about; 0: none. */
extern int64 sl_queue_lead(const struct SlArguments *arguments);

/* settings.c */
extern int	sl_queue_concurrency;
extern int	sl_queue_max_attempts;
extern int	sl_queue_retention_min;
extern bool sl_queue_perform_jobs;
extern void sl_queue_define_settings(void);

/* wakeup.c */
extern Size sl_queue_shmem_size(void);
extern void sl_queue_shmem_startup(void);

/* Wakes this database's dispatcher, and all who wait for a job, once this transaction commits. */
extern void sl_queue_wake_at_commit(void);

/*
 * The place in the order of jobs for one that is enqueued now: this time, or a later one that was
 * given out before the clock was set back.
 */
extern TimestampTz sl_queue_place(TimestampTz now);

/* For the dispatcher: have jobs been enqueued, here or elsewhere, since the last call? */
extern bool sl_queue_has_news(void);

extern bool sl_dispatcher_runs(void);

/* Jobs have ended: tells all who wait for one. */
extern void sl_queue_announce(void);

/*
 * Between begin and end, sl_queue_wait sleeps until jobs have ended somewhere in the cluster since
 * the last look, or until the time is over.
 */
extern void sl_queue_begin_wait(void);
extern void sl_queue_wait(long timeout_ms);
extern void sl_queue_end_wait(void);

/* dispatcher.c: the worker. */
extern PGDLLEXPORT void sl_dispatcher_main(Datum argument);

#endif /* SL_QUEUE_H */
