/*
 * watch/relations.c
 *		Who is to be told when a relation has changed.
 *
 * The server has room for ten such functions in a process, those of all extensions and its own together,
 * and ends the process that wants one more. So there is one of ours, which calls the others.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "watch/relations.h"

#include "utils/inval.h"

#define MAX_WATCHERS 8

static SlRelationWatcher watchers[MAX_WATCHERS];
static int				 n_watchers = 0;

static void
relation_changed(Datum argument, Oid relation)
{
	for (int i = 0; i < n_watchers; i++)
		watchers[i](relation);
}

void
sl_watch_relations(SlRelationWatcher watcher)
{
	if (n_watchers == MAX_WATCHERS)
		elog(ERROR, "too many watchers of relations");
	if (n_watchers == 0)
		CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
	watchers[n_watchers++] = watcher;
}
