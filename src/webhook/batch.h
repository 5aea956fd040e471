/*
 * webhook/batch.h
 *		The requests that are stored in one transaction.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#ifndef SL_BATCH_H
#define SL_BATCH_H

#include "webhook/webhook.h"

/* The requests of one transaction, and what has become of them. */
typedef struct SlBatch
{
	SlHttpRequest **requests;
	int			   *status; /* to answer */
	int				n;
	int				done; /* how many the transaction has dealt with */
	bool			careful;
	bool			last_try; /* of a batch of one: what fails now is recorded */
	int				events, stored, duplicates, failed;
	size_t			bytes;
	bool			committing;
	bool			uncertain; /* committed, but perhaps not yet on a synchronous standby */

	SlEventRow *rows; /* that wait for the next statement; in the plain way only */
	int			n_rows;
	Oid			role; /* of all of them */

	/* The trigger that was cut off in the attempt before this one needn't be tried again. */
	const ErrorData *known_error;
	int				 known_request, known_event;
	int				 now_request, now_event; /* where it is */
	int				 row_request, row_event; /* where the last of the rows is from */
} SlBatch;

/* One transaction. NULL: it has committed; else the error, and nothing of it counts. */
extern ErrorData *sl_batch_run(SlBatch *batch);

/* After a failed one: statements begin small again. */
extern void sl_batch_slow_down(void);

/* Is it an error of the server, which neither the event nor a trigger can help? */
extern bool sl_is_trouble_of_server(int sqlstate);

/* What a commit needs: a transaction id, a place in the log, and the log on disk. */
extern bool sl_try_commit(void);

#endif /* SL_BATCH_H */
