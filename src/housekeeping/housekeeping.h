/*
 * housekeeping/housekeeping.h
 *		The worker that removes what is old, so that no other one has to stop for it.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#ifndef SL_HOUSEKEEPING_H
#define SL_HOUSEKEEPING_H

#include "smartlead.h"

#include "worker/worker.h"

/* For a worker that begins: with what its predecessor has left in the slot. */
extern void sl_retention_begin(SlWorkerSlot *slot);

/*
 * Removes a few old rows of each table. True: there may be more. What can't be removed is passed over,
 * and tried again an hour later, or when starting over. Outside a transaction. Never throws.
 */
extern bool sl_retention_step(void);
extern void sl_retention_start_over(void);

/* What was in the way of it, or NULL: to be told when there is no more. */
extern const char *sl_retention_trouble(void);

extern PGDLLEXPORT void sl_housekeeper_main(Datum argument);

#endif /* SL_HOUSEKEEPING_H */
