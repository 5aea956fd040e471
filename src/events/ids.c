/*
 * events/ids.c
 *		The ids of events, and how readers know which are still to come.
 *
 * Ids are drawn before the commit, so a lower one may appear after a higher one. Whoever draws some
 * says first, by a lock that nobody waits for, above which id his will be: smartlead_new_events()
 * reads the sequence, then these locks in pg_locks, and goes no further than the lowest. What draws
 * later draws ids above what it has read of the sequence; what has ended is seen by its next
 * snapshot.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "access/transam.h"
#include "access/xact.h"
#include "commands/sequence.h"
#include "storage/lock.h"
#include "utils/fmgrprotos.h"

#include "events/events.h"
#include "role/role.h"

/* The kind of lock, which smartlead_new_events() knows as well. */
#define MARK 8700

int64
sl_last_event_id(void)
{
	LOCAL_FCINFO(call, 1);
	Oid			  sequence = sl_event_objects()->sequence;
	SlUserContext caller;
	Datum		  last;

	InitFunctionCallInfoData(*call, NULL, 1, InvalidOid, NULL, NULL);
	call->args[0].value = ObjectIdGetDatum(sequence);
	call->args[0].isnull = false;
	sl_become_owner(sequence, &caller);
	last = pg_sequence_last_value(call);
	sl_become_oneself(&caller);
	return call->isnull ? 0 : DatumGetInt64(last);
}

/*
 * A subtransaction that is undone takes its lock along; so the next one marks the same id once
 * more, which is low enough.
 */
static void
mark(void)
{
	static FullTransactionId marked_in = {0};
	static int64			 mark = 0;
	FullTransactionId		 transaction = GetTopFullTransactionId();
	LOCKTAG					 tag;

	if (!FullTransactionIdEquals(transaction, marked_in))
		mark = sl_last_event_id();
	marked_in = transaction;
	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, (uint32) (mark >> 32), (uint32) mark, MARK);
	tag.locktag_type = LOCKTAG_USERLOCK; /* those of SQL are another type, so they never meet */
	(void) LockAcquire(&tag, ShareLock, false, false);
}

void
sl_event_ids_draw(SlEventRow *rows, int n)
{
	Oid sequence = sl_event_objects()->sequence;

	mark();
	for (int i = 0; i < n; i++)
	{
		rows[i].values[SL_EVENT_ID - 1] = Int64GetDatum(nextval_internal(sequence, false));
		rows[i].nulls[SL_EVENT_ID - 1] = false;
	}
}

/* They are in the order of their ids, as these were drawn. */
SlEventRow *
sl_event_row_of(SlEventRow *rows, int n, int64 id)
{
	int low = 0, high = n;

	while (low < high)
	{
		int	  middle = low + (high - low) / 2;
		int64 its_id = DatumGetInt64(rows[middle].values[SL_EVENT_ID - 1]);

		if (its_id == id)
			return &rows[middle];
		if (its_id < id)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}
