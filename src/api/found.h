/*
 * api/found.h
 *		What completions have found out, kept for a short while.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#ifndef SL_FOUND_H
#define SL_FOUND_H

#include "smartlead.h"

#include "api/endpoints.h"

/* Keeps what was found for a text in this process: the id of a category's name. */
extern void sl_found_keep(const SlConnection *connection, const SlCompletion *completion,
						  const char *from, const char *found);

/* What was found not long ago, palloc'd; or NULL. */
extern char *sl_found_recall(const SlConnection *connection, const SlCompletion *completion,
							 const char *from);

extern void sl_found_forget(const SlConnection *connection, const SlCompletion *completion,
							const char *from);

#endif /* SL_FOUND_H */
