/*
 * queue/transaction.c
 *		The dispatcher's transactions, and the signals that come in their midst.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include <signal.h>

#include "access/xact.h"
#include "executor/spi.h"
#include "libpq/pqsignal.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "tcop/tcopprot.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "queue/dispatcher.h"
#include "role/role.h"
#include "worker/worker.h"

static MemoryContext context; /* of one transaction */

/* ---- signals ---- */

static volatile sig_atomic_t can_be_cancelled = false; /* something is under way in a transaction */
static volatile sig_atomic_t is_committing = false;

static void
on_sigint(SIGNAL_ARGS)
{
	if (can_be_cancelled)
		StatementCancelHandler(postgres_signal_arg);
}

static void
on_sigterm(SIGNAL_ARGS)
{
	/* Only the wait for a standby looks at this without being told that there is an interrupt. */
	if (is_committing)
		QueryCancelPending = true;
	SignalHandlerForShutdownRequest(postgres_signal_arg);
}

static void
forget_cancel(void)
{
	can_be_cancelled = is_committing = false;
	QueryCancelPending = false;
}

/* ---- transactions ---- */

/* Is what was committed last safe from a crash, as the server is configured? */
static bool is_safe = true;

bool
sl_transaction_is_safe(void)
{
	return is_safe;
}

static void
commit(void)
{
	is_committing = true;
	if (ShutdownRequestPending)
		QueryCancelPending = true;
	CommitTransactionCommand();
	forget_cancel();
	is_safe = sl_last_commit_is_on_standbys();
}

static void
begin_transaction(void)
{
	can_be_cancelled = true;
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	SPI_connect();
	PushActiveSnapshot(GetTransactionSnapshot());
	if (sl_store_is_careful())
		sl_forbid_deferred_triggers();
}

static void
end_transaction(void)
{
	PopActiveSnapshot();
	SPI_finish();
	commit();
	pgstat_report_stat(false);
}

bool
sl_transaction_run(void (*action)(TimestampTz now), TimestampTz now, SlStoreTrouble kind,
				   const char *what)
{
	bool volatile done = false;

	MemoryContextReset(context);
	PG_TRY();
	{
		begin_transaction();
		action(now);
		end_transaction();
		done = true;
	}
	PG_CATCH();
	{
		ErrorData *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		HOLD_INTERRUPTS();
		EmitErrorReport();
		FlushErrorState();
		forget_cancel();
		AbortCurrentTransaction();
		RESUME_INTERRUPTS();
		sl_store_note(kind, what, error);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	return done;
}

void
sl_transaction_prepare(void)
{
	/* Requests that were sent deserve to be listened to. */
	pqsignal(SIGTERM, on_sigterm);
	pqsignal(SIGINT, on_sigint);
	context =
		AllocSetContextCreate(TopMemoryContext, "smartlead queue round", ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(context);
}
