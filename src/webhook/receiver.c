/*
 * webhook/receiver.c
 *		The receiver's main loop.
 *
 * One thread waits for everything: its latch (settings, signals, news from the launcher's hook) and
 * the HTTP server's sockets. What a wake-up has brought is read, stored in batches, and answered.
 * Without traffic it wakes once a minute, to see whether the extension is still there.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include <time.h>

#include "access/xact.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "utils/memutils.h"

#include "webhook/webhook.h"

#define LOOK_AROUND_MS 60000

/* How long after an answer a batch may wait for the next request. */
#define GATHER_US 500

/* A batch of so many waits for no more. */
#define ENOUGH_REQUESTS 64

/* While the tokens aren't known, before they are looked at again. */
#define TOKENS_PAUSE_MS 100

/* How long requests may keep the receiver from everything else. */
#define SERVE_US 100000
#define FIRST_PAUSE_MS 1000
#define LONGEST_PAUSE_MS 60000

typedef struct Receiver
{
	SlWorkerSlot *slot;
	WaitEventSet *events;
	int			  generation; /* of the listener in the set */
	uint32		  wait_event;
	int64		  listen_at; /* when to try again to open the listener; 0: it is as wanted */
	int			  pause_ms;
	int64		  tell_statistics_at;
	int64		  gather_until;
} Receiver;

static SlWorkerSlot *my_slot = NULL;
static char			 troubles[SL_N_TROUBLES][sizeof(my_slot->trouble)];

int64
sl_now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64) now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* smartlead_workers has room for one trouble: the first one. */
static void
tell_trouble(SlWorkerState state)
{
	int first = 0;

	while (first < SL_N_TROUBLES - 1 && troubles[first][0] == '\0')
		first++;
	sl_worker_set_state(my_slot, state, troubles[first]);
}

void
sl_receiver_trouble(SlTrouble what, const char *text)
{
	if (my_slot == NULL || strcmp(troubles[what], text == NULL ? "" : text) == 0)
		return;
	strlcpy(troubles[what], text == NULL ? "" : text, sizeof(troubles[what]));
	if (text != NULL)
		ereport(WARNING, (errmsg("smartlead's receiver of webhooks: %s", text)));
	tell_trouble(my_slot->state);
}

void
sl_receiver_listens(SlWorkerState state, const char *trouble)
{
	strlcpy(troubles[SL_TROUBLE_LISTENER], trouble == NULL ? "" : trouble,
			sizeof(troubles[SL_TROUBLE_LISTENER]));
	tell_trouble(state);
}

/* Opens the listener, or opens it anew; when that fails, tries again after a growing pause. */
static void
update_listener(Receiver *receiver)
{
	if (sl_listener_update(receiver->slot))
	{
		receiver->listen_at = 0;
		receiver->pause_ms = FIRST_PAUSE_MS;
	}
	else
	{
		receiver->listen_at = sl_now_us() + (int64) receiver->pause_ms * 1000;
		receiver->pause_ms = Min(receiver->pause_ms * 2, LONGEST_PAUSE_MS);
	}
}

/* The set holds the listener's descriptors, which change with the listener. */
static void
prepare_wait(Receiver *receiver)
{
	int *descriptors;
	int	 n;

	if (receiver->events != NULL && receiver->generation == sl_listener_generation())
		return;
	if (receiver->events != NULL)
		FreeWaitEventSet(receiver->events);
	n = sl_listener_descriptors(&descriptors);
	receiver->events = sl_create_wait_event_set(2 + n);
	AddWaitEventToSet(receiver->events, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, NULL);
	AddWaitEventToSet(receiver->events, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, NULL, NULL);
	for (int i = 0; i < n; i++)
		AddWaitEventToSet(receiver->events, WL_SOCKET_READABLE, descriptors[i], NULL, NULL);
	pfree(descriptors);
	receiver->generation = sl_listener_generation();
}

static long
sooner(long a, int64 at, int64 now)
{
	return Min(a, (long) Max((at - now) / 1000 + 1, 0));
}

static long
time_to_wait(const Receiver *receiver)
{
	int64 now = sl_now_us();
	long  wait_ms = LOOK_AROUND_MS;
	long  listener_ms = sl_listener_timeout();

	if (!sl_tokens_known())
		wait_ms = TOKENS_PAUSE_MS;
	else if (sl_queue.count > 0)
		return 0;
	if (receiver->listen_at != 0)
		wait_ms = sooner(wait_ms, receiver->listen_at, now);
	if (receiver->tell_statistics_at != 0)
		wait_ms = sooner(wait_ms, receiver->tell_statistics_at, now);
	return listener_ms < 0 ? wait_ms : Min(wait_ms, listener_ms);
}

static void
heed_signals(Receiver *receiver)
{
	/* A cancellation that came too late for the event it was meant for. */
	QueryCancelPending = false;
	CHECK_FOR_INTERRUPTS();
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
		/* One too many is about to be ended, and leaves the address to the others. */
		if (receiver->slot->number < sl_receivers)
			receiver->listen_at = sl_now_us();
	}
}

/* Ends the process if the extension is gone. */
static void
refresh_tokens(Receiver *receiver)
{
	if (sl_tokens_refresh())
		return;
	sl_listener_stop();
	sl_worker_end_without_extension(receiver->slot);
}

/*
 * Clients that have just been answered will be back soon, and what a commit costs besides its
 * events is as much as several of them cost. So a batch waits a moment for those, if they are
 * neither in it yet nor gone. A lone client doesn't wait.
 */
static void
gather(Receiver *receiver)
{
	WaitEvent happened;

	while (sl_peers_awaited() > 0 && sl_queue.count < ENOUGH_REQUESTS &&
		   sl_now_us() < receiver->gather_until)
	{
		if (WaitEventSetWait(receiver->events, 1, &happened, 1, receiver->wait_event) == 0 ||
			happened.events != WL_SOCKET_READABLE)
			break;
		sl_listener_run();
	}
}

/* Stores what is in the queue; after each batch, its answers go out and more may have come in. */
static void
serve(Receiver *receiver)
{
	int64 end = sl_now_us() + SERVE_US;

	refresh_tokens(receiver);
	sl_listener_run();
	while (sl_queue.count > 0 && sl_tokens_known() && sl_now_us() < end)
	{
		gather(receiver);
		sl_peers_begin_batch();
		sl_store_batch();
		sl_listener_run();
		receiver->gather_until = sl_now_us() + GATHER_US;
		heed_signals(receiver);
		if (receiver->tell_statistics_at == 0)
			receiver->tell_statistics_at = sl_now_us() + 1000000;
	}
}

/* Tells the statistics collector what was written, or autovacuum would never come. */
static void
tell_statistics(Receiver *receiver)
{
	if (receiver->tell_statistics_at == 0 || receiver->tell_statistics_at > sl_now_us())
		return;
	receiver->tell_statistics_at = 0;
	pgstat_report_stat(true);
}

static void
tidy_up(Receiver *receiver)
{
	if (receiver->listen_at != 0 && receiver->listen_at <= sl_now_us())
		update_listener(receiver);
	sl_listener_clear();
	tell_statistics(receiver);
}

static void
begin(Receiver *receiver)
{
	receiver->slot = my_slot = sl_worker_begin();
	receiver->pause_ms = FIRST_PAUSE_MS;
	receiver->wait_event = sl_wait_event("SmartleadReceiver");
	sl_my_stats = sl_receiver_stats(sl_worker_slot_index(receiver->slot));
	pg_atomic_write_u64(&sl_my_stats->connections, 0);
	refresh_tokens(receiver);
	update_listener(receiver);
}

/*
 * An error here, outside the storing of a batch, is one that the receiver can't mend: it ends, its
 * clients will try again, and the launcher starts another one.
 */
void
sl_receiver_main(Datum argument)
{
	Receiver	  receiver = {0};
	WaitEvent	  happened[3];
	MemoryContext loop;

	begin(&receiver);
	loop = AllocSetContextCreate(TopMemoryContext, "smartlead receiver", ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(loop);
	for (;;)
	{
		prepare_wait(&receiver);
		WaitEventSetWait(receiver.events, time_to_wait(&receiver), happened, lengthof(happened),
						 receiver.wait_event);
		ResetLatch(MyLatch);
		heed_signals(&receiver);
		serve(&receiver);
		tidy_up(&receiver);
		MemoryContextSwitchTo(loop);
		MemoryContextReset(loop);
	}
}
