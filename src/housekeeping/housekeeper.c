/*
 * housekeeping/housekeeper.c
 *		The housekeeper's main loop.
 *
 * It wakes once a minute, to see whether the extension is still there and whether something is old
 * enough to go. As long as there is more, it goes on at once, a step at a time, and heeds signals in
 * between.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "utils/memutils.h"

#include "housekeeping/housekeeping.h"

#define LOOK_AROUND_MS 60000

static SlWorkerSlot *my_slot;

static void
heed_signals(void)
{
	/* A cancellation that came too late for the step it was meant for. */
	QueryCancelPending = false;
	CHECK_FOR_INTERRUPTS();
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
		sl_retention_start_over();
	}
}

static void
end_without_extension(void)
{
	bool is_there;

	StartTransactionCommand();
	is_there = OidIsValid(sl_extension_schema());
	CommitTransactionCommand();
	if (!is_there)
		sl_worker_end_without_extension(my_slot);
}

static void
tell_trouble(const char *text)
{
	if (text == NULL)
		text = "";
	if (strcmp(my_slot->trouble, text) == 0)
		return;
	if (*text != '\0')
		ereport(WARNING, (errmsg("smartlead's housekeeper: %s", text)));
	sl_worker_set_state(my_slot, SL_WORKER_RUNNING, text);
}

void
sl_housekeeper_main(Datum argument)
{
	uint32		  wait_event = sl_wait_event("SmartleadHousekeeper");
	MemoryContext loop;

	my_slot = sl_worker_begin();
	end_without_extension();
	sl_worker_set_state(my_slot, SL_WORKER_RUNNING, NULL);
	sl_retention_begin(my_slot);
	loop = AllocSetContextCreate(TopMemoryContext, "smartlead housekeeper", ALLOCSET_DEFAULT_SIZES);
	for (;;)
	{
		bool more;

		MemoryContextSwitchTo(loop);
		MemoryContextReset(loop);
		heed_signals();
		end_without_extension();
		more = sl_retention_step();
		if (!more)
			tell_trouble(sl_retention_trouble());
		/* Or autovacuum would never come. */
		pgstat_report_stat(!more);
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 more ? 0 : LOOK_AROUND_MS, wait_event);
		ResetLatch(MyLatch);
	}
}
