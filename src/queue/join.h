/*
 * queue/join.h
 *		Jobs that may share a request: those of one action that differ in its list alone.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#ifndef SL_JOIN_H
#define SL_JOIN_H

#include "smartlead.h"

#include "api/arguments.h"

/* How many elements a request holds at most, and so how many jobs. */
#define SL_JOIN_MAX 500

/* What jobs must have in common to share a request; NULL: this one shares none. */
extern char *sl_join_key(const SlArguments *arguments);

/* Adds the list of one job to another one's. False: it would become too long. */
extern bool sl_join_add(SlArguments *target, const SlArguments *source);

#endif /* SL_JOIN_H */
