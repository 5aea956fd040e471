/*
 * table/insertion.h
 *		Rows into a table of ours as by one INSERT, without a plan.
 *
 * Triggers of all kinds, defaults, constraints and indexes are heeded as by an INSERT. Privileges,
 * rules and row security are not: whoever inserts decides on them first.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#ifndef SL_INSERTION_H
#define SL_INSERTION_H

#include "smartlead.h"

#include "executor/tuptable.h"
#include "nodes/execnodes.h"

typedef struct SlInsertion
{
	EState		  *estate;
	ResultRelInfo *target;
	TupleTableSlot
			   *slot; /* the row, after sl_insertion_row() with its id and what triggers changed */
	CommandId	command;
	int			given; /* columns that are always given; the others get their defaults */
	ExprState **defaults;

	struct TransitionCaptureState *transition;
} SlInsertion;

/*
 * Is it a trigger, a default, a constraint or an index that runs now, or that has thrown the last
 * error? Set to false by whoever catches that.
 */
extern bool sl_in_users_code;

/*
 * Begins, and runs triggers that are to be run before the statement. "types" are those of the
 * columns that each row is given, the table's first ones. The relation must stay open and locked
 * until the end. What an error leaves is released with the memory context and the transaction.
 */
extern void sl_insertion_begin(SlInsertion *insertion, Relation relation, const Oid *types,
							   int given);

/*
 * Inserts a row; values and nulls are those of the given columns. False: a trigger has dropped it.
 * A repeated value in a unique index is an error.
 */
extern bool sl_insertion_row(SlInsertion *insertion, const Datum *values, const bool *nulls);

/* Runs the triggers that are to be run afterwards, and makes the rows visible to what follows. */
extern void sl_insertion_end(SlInsertion *insertion);

#endif /* SL_INSERTION_H */
