/*
 * queue/claim.h
 *		Which jobs are performed next, and as which tasks.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#ifndef SL_CLAIM_H
#define SL_CLAIM_H

#include "smartlead.h"

#include "lib/ilist.h"

/*
 * Claims what may be performed now and adds it to the list, as tasks in contexts below "parent".
 * True: there may be more that could be claimed at once.
 */
extern bool sl_claim_jobs(MemoryContext parent, dlist_head *in_flight, TimestampTz now);

/*
 * The transaction has committed: the claims hold. If it is not where it would be safe from a crash,
 * the tasks get the verdict that they are given back, and are not started.
 */
extern void sl_claim_confirm(bool is_safe);

/* It has not: the tasks go. */
extern void sl_claim_undo(void);

#endif /* SL_CLAIM_H */
