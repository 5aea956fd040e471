/*
 * watch/relations.h
 *		Who is to be told when a relation has changed.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#ifndef SL_WATCH_RELATIONS_H
#define SL_WATCH_RELATIONS_H

#include "smartlead.h"

/*
 * Calls the function whenever a relation's definition changes, for as long as the process lives. relation:
 * InvalidOid if any may have changed. It may look at nothing in the catalogs, nor throw.
 */
typedef void (*SlRelationWatcher)(Oid relation);
extern void sl_watch_relations(SlRelationWatcher watcher);

#endif /* SL_WATCH_RELATIONS_H */
