/*
 * queue/queue.h
 *		The queue: jobs in a table, written in the caller's transaction, performed after its commit.
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
	SL_JOB_RUN_AT,
	SL_JOB_DUE_AT,
	SL_JOB_ATTEMPTS,
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
	SL_JOB_FINISHED_AT
} SlQueueColumn;

/* A job to be. */
typedef struct SlNewJob
{
	const char *action;
	Jsonb	   *args;
	const char *connection; /* NULL: the caller's default */
	Oid			run_as;
	TimestampTz run_at; /* 0: at once */

	/* For a job of an automation; 0 and NULL for others. */
	int64		automation_id;
	int64		event_id;
	const char *event_subject;

	/* Not NULL: it can't be performed. The row goes straight to the dead letter, unchecked. */
	const ErrorData *failure;
} SlNewJob;

/* enqueue.c: checks the job, unless it has failed already, and writes its row. Returns its number. */
extern int64 sl_queue_enqueue(Oid schema, const SlNewJob *job);

/* settings.c */
extern int	sl_queue_concurrency;
extern int	sl_queue_max_attempts;
extern int	sl_queue_retention_min;
extern void sl_queue_define_settings(void);

/* wakeup.c: who dispatches which database, in shared memory. */
extern Size sl_queue_shmem_size(void);
extern void sl_queue_shmem_startup(void);

/* Wakes this database's dispatcher, and all who wait for a job, once this transaction commits. */
extern void sl_queue_wake_at_commit(void);

/* This process is the database's dispatcher from now until its end. False: there is another one. */
extern bool sl_dispatcher_register(void);
extern bool sl_dispatcher_runs(void);

/* Jobs have ended: tells all who wait for one. */
extern void sl_queue_announce(void);

/*
 * Sleeps until jobs have ended somewhere in the cluster or the time is over. The first call after
 * sl_queue_end_wait returns at once, so that the caller looks again before it sleeps.
 */
extern void sl_queue_wait(long timeout_ms);
extern void sl_queue_end_wait(void);

#endif /* SL_QUEUE_H */
