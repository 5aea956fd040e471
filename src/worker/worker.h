/*
 * worker/worker.h
 *		Background workers: who runs them, where they stand, how they are woken.
 *
 * A launcher starts, for each database that it serves, as many workers of each kind as settings
 * say, and starts them again when they end. A new kind is a row in the table of kinds.c and a
 * function that begins with sl_worker_begin().
 *
 * Copyright (c) 2026, the smartlead authors
 */
#ifndef SL_WORKER_H
#define SL_WORKER_H

#include "smartlead.h"

#include "port/atomics.h"
#include "storage/latch.h"
#include "storage/spin.h"

/* Launchers and workers of the whole cluster. */
#define SL_MAX_WORKERS 64

#define SL_LAUNCHER (-1)

/* Of kinds.c. */
typedef struct SlWorkerKind
{
	const char *name;	  /* "receiver" */
	const char *function; /* its entry point, of type bgworker_main_type */
	const int  *count;	  /* how many for each database; NULL: one */
} SlWorkerKind;

extern const SlWorkerKind sl_worker_kinds[];
extern const int		  sl_n_worker_kinds;

typedef enum SlWorkerState
{
	SL_WORKER_STARTING,
	SL_WORKER_RUNNING,
	SL_WORKER_WAITING,		/* alive, but can't do its work now; "trouble" says why */
	SL_WORKER_NO_EXTENSION, /* ended, since the database has no extension */
	SL_WORKER_STOPPED
} SlWorkerState;

/*
 * The place of one worker in shared memory. It stays with the same kind, database and number over
 * the worker's restarts, so that what the worker keeps beside it (counters) goes on. Its own worker
 * alone changes it after the claim.
 */
typedef struct SlWorkerSlot
{
	bool   used;
	Oid	   database; /* of a launcher: what it serves, or InvalidOid for the settings' list */
	int	   kind;	 /* index in sl_worker_kinds, or SL_LAUNCHER */
	int	   number;	 /* 0, 1, ... among those of its kind in its database */
	pid_t  pid;		 /* 0: not running */
	Latch *latch;
	SlWorkerState state;
	TimestampTz	  started_at;
	int64		  starts;
	char		  address[96]; /* where it listens; empty: nowhere */
	int			  port;
	char		  trouble[192];
	int64 left[4]; /* what it leaves to its successor, of a meaning of its own; zeros at first */
} SlWorkerSlot;

typedef struct SlWorkers
{
	slock_t		 mutex; /* for claiming a slot */
	uint64		 wakes; /* how often somebody has called: see bury_child() */
	SlWorkerSlot slots[SL_MAX_WORKERS];
} SlWorkers;

extern Size		  sl_worker_shmem_size(void);
extern void		  sl_worker_shmem_startup(void);
extern SlWorkers *sl_worker_shared(void); /* attaches when that hasn't happened yet */

/* The slot of that worker, claimed for this process; NULL if another one is alive there. */
extern SlWorkerSlot *sl_worker_claim(Oid database, int kind, int number);
extern int			 sl_worker_slot_index(const SlWorkerSlot *slot);
extern void sl_worker_set_state(SlWorkerSlot *slot, SlWorkerState state, const char *trouble);

/* Tells of one's own trouble from within a signal handler, where no lock may be waited for. */
extern void sl_worker_is_stuck(const char *trouble);

/*
 * The limit of time for users' code (deadline.c), in milliseconds; to be stopped after an error, too.
 * "last_words" is called in a signal handler, before the process ends because it could not be kept.
 */
extern void sl_deadline_start(int ms, void (*last_words)(void));
extern void sl_deadline_stop(void);

/* The slot of a process that runs, or NULL. */
extern SlWorkerSlot *sl_worker_find(Oid database, int kind, int number);

/* Wakes launchers, and the workers of a database (InvalidOid: of none). Never throws. */
extern void sl_worker_wake(Oid database);

/* How often that has been called. */
extern uint64 sl_worker_wakes(void);

/* The same for the current database, once the current transaction has committed. */
extern void sl_worker_wake_at_commit(void);

/* Notices CREATE and DROP of extension and databases, for the launcher to act at once. */
extern void sl_worker_install_hook(void);

extern void sl_worker_define_settings(void);

/* Registers the launcher of the databases in smartlead.databases; from _PG_init under preload. */
extern void sl_worker_register(void);

/* What a launcher tells a worker. Travels in bgw_extra. */
typedef struct SlWorkerArguments
{
	Oid database;
	int kind;
	int number;
} SlWorkerArguments;

/*
 * The first thing that a worker does: signals, connection to its database, settings, slot. Ends the
 * process if its place is taken.
 */
extern SlWorkerSlot *sl_worker_begin(void);

/* Ends the worker because the database has no extension (any more). */
pg_noreturn extern void sl_worker_end_without_extension(SlWorkerSlot *slot);

/*
 * Do the standbys that synchronous_commit waits for have the transaction that has just committed? Not
 * if the wait for them was cut short, by a cancellation or by the end of the server.
 */
extern bool sl_last_commit_is_on_standbys(void);

/* The schema of the extension in this database, or InvalidOid. Needs a transaction. */
extern Oid sl_extension_schema(void);

/* A table or index of the extension, or InvalidOid. Needs a transaction. */
extern Oid sl_extension_relation(const char *name);

/*
 * Does something in a subtransaction. NULL: it is done; else the error, in the caller's memory
 * context, and nothing of it counts.
 */
extern ErrorData *sl_attempt(void (*action)(void *argument), void *argument);

#endif /* SL_WORKER_H */
