/*
 * http/transport.c
 *		Drives all transfers of this process: libcurl's multi interface in a WaitEventSet.
 *
 * One multi handle lives as long as the session, so that connections, TLS sessions and looked-up
 * names are reused. libcurl says by callbacks which sockets it wants watched and until when; we
 * watch them together with the process's latch, so that a cancel, a timeout or a shutdown is
 * noticed at once, in every phase of every request.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include <signal.h>

#include "utils/guc.h"
#include "utils/memutils.h"

#include "http/clock.h"
#include "http/transfer.h"
#include "http/transport.h"
#include "stats/stats.h"

#define MAX_SOCKETS 256
#define MAX_EVENTS 32

/* A socket that libcurl wants watched. */
typedef struct WatchedSocket
{
	curl_socket_t fd;
	uint32		  events;
} WatchedSocket;

int sl_max_response_size_kb = 64 * 1024;

static CURLM		*multi = NULL;
static dlist_head	 transfers = DLIST_STATIC_INIT(transfers); /* those not done */
static WatchedSocket sockets[MAX_SOCKETS];
static int			 n_sockets = 0;
static SlInstant	 curl_deadline = 0; /* 0: libcurl waits for nothing but sockets */
static WaitEventSet *wait_set = NULL;
static bool			 wait_set_is_stale = true;
static int			 done_count = 0; /* transfers that ended since the last look */

static uint32 event_request = 0;
static uint32 event_rate_limit = 0;

void
sl_transport_define_settings(void)
{
	DefineCustomIntVariable(
		"smartlead.max_response_size", "The largest answer of Smartlead that is read.",
		"A larger one ends the call with an error.", &sl_max_response_size_kb, 64 * 1024, 64,
		1024 * 1024 - 1, PGC_SUSET, GUC_UNIT_KB, NULL, NULL, NULL);
}

/* ---- libcurl's wishes ---- */

static int
on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
	int i = 0;

	while (i < n_sockets && sockets[i].fd != fd)
		i++;
	wait_set_is_stale = true;
	if (what == CURL_POLL_REMOVE)
	{
		if (i < n_sockets)
			sockets[i] = sockets[--n_sockets];
		return 0;
	}
	if (i == MAX_SOCKETS)
		return -1;
	sockets[i].fd = fd;
	sockets[i].events = (what & CURL_POLL_IN ? WL_SOCKET_READABLE : 0) |
						(what & CURL_POLL_OUT ? WL_SOCKET_WRITEABLE : 0);
	if (i == n_sockets)
		n_sockets++;
	return 0;
}

static int
on_timer(CURLM *handle, long timeout_ms, void *arg)
{
	curl_deadline = timeout_ms < 0 ? 0 : sl_clock_after(sl_clock_now(), timeout_ms);
	return 0;
}

/* Once per process, at its first request: never in the postmaster, which backends are forked from. */
static void
ensure_multi(void)
{
	CURLM *handle;

	if (multi != NULL)
		return;
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK || (handle = curl_multi_init()) == NULL)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("could not initialize libcurl")));
	curl_multi_setopt(handle, CURLMOPT_SOCKETFUNCTION, on_socket);
	curl_multi_setopt(handle, CURLMOPT_TIMERFUNCTION, on_timer);
	curl_multi_setopt(handle, CURLMOPT_MAX_TOTAL_CONNECTIONS, (long) MAX_SOCKETS / 2);
	curl_multi_setopt(handle, CURLMOPT_MAXCONNECTS, (long) 32);
	multi = handle;
	event_request = sl_wait_event("SmartleadRequest");
	event_rate_limit = sl_wait_event("SmartleadRateLimit");
}

/*
 * libcurl looks names up in a thread of its own, which inherits the signal mask: with all signals
 * blocked meanwhile, none of PostgreSQL's handlers can ever run in it.
 */
static void
socket_action(curl_socket_t fd, int events)
{
	sigset_t all, before;
	int		 running;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	curl_multi_socket_action(multi, fd, events, &running);
	sigprocmask(SIG_SETMASK, &before, NULL);
}

/* ---- one transfer's life ---- */

static void
report_statistics(const SlTransfer *transfer)
{
	const SlResponse *response = &transfer->response;
	SlRequestStats	  stats = {0};

	stats.server = transfer->request.connection->server;
	stats.endpoint = transfer->request.endpoint;
	stats.failed = response->outcome != SL_ANSWERED || response->status / 100 != 2;
	stats.retries = Max(response->attempts - 1, 0);
	stats.throttled = transfer->throttled_us > 0;
	stats.throttled_us = transfer->throttled_us;
	stats.bytes_sent = transfer->bytes_sent;
	stats.bytes_received = transfer->bytes_received;
	stats.latency_us = transfer->latency_us;
	sl_stats_count_request(&stats);
}

static void
finish(SlTransfer *transfer)
{
	transfer->state = SL_DONE;
	dlist_delete(&transfer->node);
	done_count++;
	report_statistics(transfer);
}

/* Takes the attempt from libcurl. */
static void
detach(SlTransfer *transfer)
{
	if (transfer->state == SL_RUNNING)
		curl_multi_remove_handle(multi, transfer->easy);
}

/*
 * Has the service refused the key for longer than a session waits, so that asking now is of no use?
 * The connection's own limit is another matter: that is waited for as long as it says.
 */
static bool
is_held_back(SlTransfer *transfer, long wait_ms)
{
	const SlRequest *request = &transfer->request;
	int64			 blocked_ms;

	if (request->priority != SL_RATE_INTERACTIVE || wait_ms <= request->connection->max_wait_ms)
		return false;
	blocked_ms = sl_rate_blocked(request->connection->key_hash);
	if (blocked_ms <= request->connection->max_wait_ms)
		return false;
	transfer->response.outcome = SL_HELD_BACK;
	transfer->response.problem = "It refused a request with the same API key shortly before.";
	transfer->response.retry_after = (int) ((blocked_ms + 999) / 1000);
	return true;
}

/* Asks the limiter and, with its leave, hands the request to libcurl. */
static void
try_to_start(SlTransfer *transfer, SlInstant now)
{
	const SlRequest *request = &transfer->request;
	long wait_ms = sl_rate_acquire(request->connection->key_hash, &request->connection->rate_limit,
								   request->priority, &transfer->ticket);

	if (wait_ms > 0)
	{
		if (is_held_back(transfer, wait_ms))
		{
			finish(transfer);
			return;
		}
		if (transfer->throttled_since == 0)
			transfer->throttled_since = now;
		transfer->wake_at = sl_clock_after(now, wait_ms);
		return;
	}
	if (transfer->throttled_since != 0)
		transfer->throttled_us += now - transfer->throttled_since;
	transfer->throttled_since = 0;
	transfer->granted_at = now;
	if (!sl_attempt_prepare(transfer) || curl_multi_add_handle(multi, transfer->easy) != CURLM_OK)
	{
		transfer->response.outcome = SL_NOT_SENT;
		transfer->response.problem = "There is not enough memory for the request.";
		finish(transfer);
		return;
	}
	transfer->state = SL_RUNNING;
}

/* libcurl is through with the attempt: the answer, or another attempt later. */
static void
end_attempt(SlTransfer *transfer, CURLcode code)
{
	const SlRequest *request = &transfer->request;
	int64			 delay;

	detach(transfer);
	sl_attempt_read(transfer, code);
	if (transfer->rate.limit >= 0 && transfer->rate.remaining >= 0)
		sl_rate_learn(request->connection->key_hash, &request->connection->rate_limit,
					  &transfer->rate, transfer->sent_at);
	delay = sl_retry_delay(transfer, code);
	transfer->state = SL_WAITING;
	if (delay < 0)
	{
		finish(transfer);
		return;
	}
	transfer->retries_left--;
	if (transfer->response.status == 429)
		transfer->throttled_since = sl_clock_now();
	transfer->wake_at = sl_clock_after(sl_clock_now(), delay);
}

/* The owner's memory context goes: give back what is not in it. Must not throw. */
static void
on_context_reset(void *arg)
{
	SlTransfer *transfer = arg;

	detach(transfer);
	if (transfer->state != SL_DONE)
		dlist_delete(&transfer->node);
	transfer->state = SL_DONE;
	sl_attempt_clear(transfer);
}

SlTransfer *
sl_transfer_start(const SlRequest *request)
{
	MemoryContext context;
	SlTransfer	 *transfer;

	ensure_multi();
	context =
		AllocSetContextCreate(CurrentMemoryContext, "smartlead transfer", ALLOCSET_SMALL_SIZES);
	transfer = MemoryContextAllocZero(context, sizeof(SlTransfer));
	transfer->context = context;
	transfer->request = *request;
	transfer->retries_left = request->connection->max_retries;
	transfer->wake_at = sl_clock_now();
	transfer->ticket.slot = -1;
	transfer->response.body = "";
	transfer->response.retry_after = -1;
	transfer->cleanup.func = on_context_reset;
	transfer->cleanup.arg = transfer;
	MemoryContextRegisterResetCallback(context, &transfer->cleanup);
	dlist_push_tail(&transfers, &transfer->node);
	return transfer;
}

bool
sl_transfer_is_waiting(const SlTransfer *transfer)
{
	return transfer->state == SL_WAITING && transfer->response.attempts == 0;
}

void
sl_transfer_free(SlTransfer *transfer)
{
	MemoryContextDelete(transfer->context);
}

/* ---- the loop ---- */

static void
start_what_is_due(SlInstant now)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify (iter, &transfers)
	{
		SlTransfer *transfer = dlist_container(SlTransfer, node, iter.cur);

		if (transfer->state == SL_WAITING && transfer->wake_at <= now)
			try_to_start(transfer, now);
	}
}

static void
collect_what_ended(void)
{
	CURLMsg *message;
	int		 left;

	while ((message = curl_multi_info_read(multi, &left)) != NULL)
	{
		CURLcode code = message->data.result;
		char *private = NULL;

		if (message->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &private);
		end_attempt((SlTransfer *) private, code);
	}
}

/* What libcurl should have ended, and didn't. */
static void
end_what_is_overdue(SlInstant now)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify (iter, &transfers)
	{
		SlTransfer *transfer = dlist_container(SlTransfer, node, iter.cur);

		if (transfer->state == SL_RUNNING && sl_attempt_deadline(transfer) <= now)
			end_attempt(transfer, CURLE_OPERATION_TIMEDOUT);
	}
}

static void
run(void)
{
	start_what_is_due(sl_clock_now());
	if (curl_deadline != 0 && curl_deadline <= sl_clock_now())
	{
		curl_deadline = 0;
		socket_action(CURL_SOCKET_TIMEOUT, 0);
	}
	collect_what_ended();
	end_what_is_overdue(sl_clock_now());
}

/* When something is to be done without a socket's or the caller's doing. */
static SlInstant
next_deadline(SlInstant deadline, bool *throttled)
{
	dlist_iter iter;

	*throttled = true;
	if (curl_deadline != 0)
		deadline = Min(deadline, curl_deadline);
	dlist_foreach (iter, &transfers)
	{
		SlTransfer *transfer = dlist_container(SlTransfer, node, iter.cur);

		if (transfer->state == SL_WAITING)
			deadline = Min(deadline, transfer->wake_at);
		else
		{
			deadline = Min(deadline, sl_attempt_deadline(transfer));
			*throttled = false;
		}
	}
	return deadline;
}

/* The set is made anew when libcurl's wishes have changed: PostgreSQL's sets only grow. */
static void
refresh_wait_set(void)
{
	if (!wait_set_is_stale)
		return;
	if (wait_set != NULL)
	{
		WaitEventSet *old = wait_set;

		wait_set = NULL;
		FreeWaitEventSet(old);
	}
	wait_set = sl_create_wait_event_set(MAX_SOCKETS + 2);
	AddWaitEventToSet(wait_set, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, NULL);
	AddWaitEventToSet(wait_set, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, NULL, NULL);
	for (int i = 0; i < n_sockets; i++)
		AddWaitEventToSet(wait_set, sockets[i].events, sockets[i].fd, NULL, NULL);
	wait_set_is_stale = false;
}

/* Waits once, and tells libcurl what has happened. True: the latch was set. */
static bool
wait_once(SlInstant deadline, uint32 wait_event)
{
	WaitEvent events[MAX_EVENTS];
	SlInstant now = sl_clock_now();
	long	  timeout = -1;
	bool	  latch_set = false;
	int		  n;

	/* Longer than PostgreSQL can wait at once is waited for in parts. */
	if (deadline != SL_INSTANT_NEVER)
		timeout = deadline <= now ? 0 : (long) Min((deadline - now + 999) / 1000, INT_MAX);
	refresh_wait_set();
	n = WaitEventSetWait(wait_set, timeout, events, MAX_EVENTS, wait_event);
	for (int i = 0; i < n; i++)
	{
		if (events[i].events & WL_LATCH_SET)
		{
			ResetLatch(MyLatch);
			latch_set = true;
		}
		else
			socket_action(events[i].fd,
						  (events[i].events & WL_SOCKET_READABLE ? CURL_CSELECT_IN : 0) |
							  (events[i].events & WL_SOCKET_WRITEABLE ? CURL_CSELECT_OUT : 0));
	}
	return latch_set;
}

void
sl_transport_run(void)
{
	if (multi != NULL)
		run();
}

bool
sl_transport_wait(long timeout_ms, uint32 wait_event)
{
	SlInstant limit =
		timeout_ms < 0 ? SL_INSTANT_NEVER : sl_clock_after(sl_clock_now(), timeout_ms);

	ensure_multi();
	done_count = 0;
	for (;;)
	{
		bool	  throttled;
		SlInstant deadline;

		run();
		if (done_count > 0)
			return false;
		deadline = next_deadline(limit, &throttled);
		if (wait_once(deadline, wait_event != 0 ? wait_event
								: throttled		? event_rate_limit
												: event_request))
			return true;
		if (limit != SL_INSTANT_NEVER && sl_clock_now() >= limit)
			return false;
	}
}

const SlResponse *
sl_transfer_poll(SlTransfer *transfer)
{
	return transfer->state == SL_DONE ? &transfer->response : NULL;
}

const SlResponse *
sl_transfer_wait(SlTransfer *transfer)
{
	while (transfer->state != SL_DONE)
	{
		sl_transport_wait(-1, 0);
		CHECK_FOR_INTERRUPTS();
	}
	return &transfer->response;
}
