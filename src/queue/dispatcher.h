/*
 * queue/dispatcher.h
 *		The parts of the dispatcher, which work in one process.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#ifndef SL_DISPATCHER_H
#define SL_DISPATCHER_H

#include "smartlead.h"

#include "queue/store.h"
#include "worker/worker.h"

/* ---- transaction.c ---- */

/* The process's signals, and the memory that is current between transactions. */
extern void sl_transaction_prepare(void);

/*
 * Runs the action in a transaction and SPI. False: it failed, and nothing of it counts; then it is
 * noted as trouble of that kind.
 */
extern bool sl_transaction_run(void (*action)(TimestampTz now), TimestampTz now,
							   SlStoreTrouble kind, const char *what);

/* Is what was committed last safe from a crash, as the server is configured? */
extern bool sl_transaction_is_safe(void);

/* ---- flight.c ---- */

extern void sl_flight_prepare(void);

/* In a round's transaction: reads the answers that have come; what has a verdict joins the results. */
extern void sl_flight_advance(TimestampTz now);

/* Then: writes the results into the table, and claims jobs (true: there may be more at once). */
extern void sl_flight_write(TimestampTz now);
extern bool sl_flight_claim(TimestampTz now);

/* After it: what is in the table can go, what could not be written is written later; or all is undone. */
extern void sl_flight_confirm(TimestampTz now);
extern void sl_flight_undo(void);

/* Then: sends what is to be sent. What can't be is a result already. */
extern void sl_flight_start(void);

/* Notes which transfers have ended. */
extern void sl_flight_notice_ends(TimestampTz now);

/* Has enough come to an end for a transaction, and when does it at the latest? */
extern bool		   sl_flight_is_due(TimestampTz now);
extern TimestampTz sl_flight_deadline(void);

/* At the end: what has not been sent is given back; is nothing left? */
extern void sl_flight_give_back_unsent(void);
extern bool sl_flight_is_over(void);

extern void sl_flight_clock_set_back(TimestampTz now);

/* ---- round.c ---- */

extern void sl_round_prepare(SlWorkerSlot *own_slot);

/* Is there something to do in a transaction, and is it worth one now? If not, when is it? */
extern bool		   sl_round_is_due(TimestampTz now);
extern TimestampTz sl_round_deadline(TimestampTz now);

/* One round, in a transaction. What it has claimed is to be started. */
extern void sl_round_work(TimestampTz now);

/* Something has come or changed: the lanes are worth a look. */
extern void sl_round_look_again(void);

/* From now on, results are written and nothing else is done. */
extern void sl_round_claim_no_more(void);

/* Old jobs go, apart from the work, which an error in here does not concern. */
extern bool sl_round_house_is_due(TimestampTz now);
extern void sl_round_keep_house(TimestampTz now);

extern void sl_round_clock_set_back(TimestampTz now);

#endif /* SL_DISPATCHER_H */
