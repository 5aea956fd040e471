/*
 * queue/statement.h
 *		How the dispatcher's statements are run. For the files of store.h alone.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#ifndef SL_STATEMENT_H
#define SL_STATEMENT_H

#include "smartlead.h"

#include "executor/spi.h"

#include "queue/task.h"

#define SL_STATEMENT_ARGS 10

typedef struct SlStatement
{
	const char *text; /* %1$s: the extension's schema; %2$s: the home of its queue */
	int			n_args;
	Oid			types[SL_STATEMENT_ARGS];

	SPIPlanPtr			plan;
	struct SlStatement *next;
} SlStatement;

/* Makes its plan, if there is none. NULL as the nulls: no value is. What it finds is SPI's. */
extern void sl_statement_execute(SlStatement *statement, Datum *values, const bool *nulls);

/* Of the rows just found, a column, counted from 1. */
extern Datum sl_statement_column(int row, int number, bool *is_null);

/* The home for which the plans are made. */
extern int64 sl_statement_home(void);

/* An array of bigint. */
extern Datum sl_statement_ids(const int64 *ids, int n);

/* The columns of smartlead_queue AS j from which jobs are read; behind them, when j was tried before. */
#define SL_JOB_COLUMNS                                                                             \
	"j.id, j.action, j.args, j.lead_id, j.join_key, j.priority, j.attempts, j.in_doubt, "          \
	"j.interrupted, j.failures, j.sqlstate"

/* The jobs in the rows just found, which are given back; they live in SPI's memory. */
extern SlJob *sl_store_read_jobs(int *n);

/* Of these jobs, finds those that run (their numbers); returns how many. */
extern uint64 sl_store_find_running(Datum ids);

/* Writes what came of a task into all of its jobs' rows, which nobody else has locked. */
extern void sl_store_write_locked(SlTask *task);

#endif /* SL_STATEMENT_H */
