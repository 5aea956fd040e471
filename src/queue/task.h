/*
 * queue/task.h
 *		A task: one job, or several that share a request, on the way to Smartlead and back.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#ifndef SL_TASK_H
#define SL_TASK_H

#include "smartlead.h"

#include "lib/ilist.h"
#include "utils/jsonb.h"

#include "api/call.h"

/* How far the writing of a result has come. */
typedef enum SlWriting
{
	SL_UNWRITTEN,
	SL_BEING_WRITTEN, /* the row is free, and what is written next is meant for it */
	SL_WRITTEN		  /* if the transaction commits */
} SlWriting;

/* A row of the queue, as claimed. */
typedef struct SlJob
{
	int64		id;
	char	   *action;
	Jsonb	   *args;
	int64		lead_id; /* 0: none */
	char	   *join_key;
	int			priority;
	int			attempts; /* this one counted */
	int			failures; /* of its own */
	TimestampTz tried_at; /* when the attempt before this one began; 0: this is the first */
	bool		in_doubt;
	bool		was_denied;	 /* the attempt before this one */
	bool		was_refused; /* the same: its key */
	int			interrupted; /* how often the server or its dispatcher ended while it was running */

	SlWriting writing; /* of what came of it */
} SlJob;

typedef enum SlVerdict
{
	SL_UNDECIDED, /* the task goes on */
	SL_DONE_WELL,
	SL_FAILED,
	SL_TRY_LATER,
	SL_REFUSED_KEY, /* no job of the lane will get further; this one is given back */
	SL_SPLIT,		/* the shared request was refused: each job for itself now */
	SL_GIVE_BACK	/* as if it had not been claimed */
} SlVerdict;

/* What passes, and whom it befalls. */
typedef enum SlTrouble
{
	SL_NO_TROUBLE,
	SL_TROUBLE_OF_ALL,	/* Smartlead is out of reach, or the limit used up */
	SL_TROUBLE_OF_SOME, /* no answer, 5xx, a web page: of all, or of this job alone */
	SL_TROUBLE_DENIED,	/* not permitted: the key, or this job alone */
	SL_TROUBLE_REFUSED	/* the key is: for all, or for this job alone */
} SlTrouble;

/* What came of a task. */
typedef struct SlResult
{
	SlVerdict verdict;
	Jsonb	 *response;
	char	 *error; /* or NULL */
	int		  sqlstate;
	bool	  in_doubt; /* it may have been processed */
	SlTrouble trouble;
	bool	  is_own;	   /* others got through meanwhile, so the trouble is the one job's */
	int		  retry_after; /* seconds; -1: Smartlead didn't say */
} SlResult;

typedef struct SlTask
{
	dlist_node	   node;
	MemoryContext  context; /* of the task and everything that belongs to it */
	struct SlLane *lane;
	char		  *version; /* of the lane's connection, as it was resolved for this task */
	TimestampTz	   claimed_at;
	bool		   is_probe; /* has no job: asks whether Smartlead answers */
	SlConnection  *connection;
	SlArguments	  *arguments;
	SlJob		  *jobs;
	int			   n_jobs;
	bool		   is_completing; /* asks for what the endpoint's completion needs */
	bool		   alternative;	  /* in the second spelling */
	int			   first_element;
	int			   next_element; /* 0: this request is the last one */
	SlRequest	  *request;
	SlArguments	  *question;	/* while completing */
	int64		   learnt_lead; /* which lead the completion found; 0: none, or it is in the row */
	SlTransfer	  *transfer;	/* NULL: to be started */
	TimestampTz	   done_at;		/* when the transfer was seen to have ended; 0: not yet */
	SlResult	   result;
	int			   n_shared; /* jobs when the request was sent; some may be written before others */
	TimestampTz	   write_after; /* what came of it could not be written before; 0: at once */
	int			   failed_writes;
} SlTask;

/*
 * A task for a job, or a result at once if the job can't be performed, or not by the connection's
 * user. Copies the connection and the job into its own context, a child of "parent".
 */
extern SlTask *sl_task_create(MemoryContext parent, const SlConnection *connection,
							  const SlJob *job);

/* A task for no job, which asks what smartlead_ping() asks. */
extern SlTask *sl_task_create_probe(MemoryContext parent, const SlConnection *connection);

/* Lets another job share the task's request. False: it can't. */
extern bool sl_task_join(SlTask *task, const SlJob *job);

/* The request to send next. Call before the first start, in a transaction. */
extern void sl_task_prepare(SlTask *task);

extern void sl_task_start(SlTask *task);

/*
 * The transfer has ended: either result.verdict is set, or the task is to be started again for its
 * next request. In a transaction.
 */
extern void sl_task_advance(SlTask *task);

extern bool sl_task_is_repeatable(const SlTask *task);

/* Gives back all that the task holds. */
extern void sl_task_free(SlTask *task);

#endif /* SL_TASK_H */
