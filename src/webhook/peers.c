/*
 * webhook/peers.c
 *		The clients' connections: none may keep the receiver waiting for long, or crowd others out.
 *
 * libmicrohttpd closes a connection that has been silent for the idle timeout. A client that sends
 * a byte now and then is not silent; so there is a limit to the whole request as well. And when there
 * are too many connections, the one that we have waited for longest goes: honest clients send their
 * requests at once, so with a thousand slow connections open it is a slow one.
 *
 * Who has just been answered will send again soon: the next batch waits a moment for those, as long as
 * they are neither back nor gone.
 *
 * A connection that must go is shut down at the socket, which libmicrohttpd then notices by itself.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include <sys/socket.h>

#include "webhook/webhook.h"

static dlist_head waited_for = DLIST_STATIC_INIT(waited_for);
static int		  n_open = 0;
static uint64	  batch = 1; /* the present one */
static int		  n_awaited = 0;

static void
unlist(SlPeer *peer)
{
	if (peer->listed)
		dlist_delete(&peer->node);
	peer->listed = false;
}

static void
await_no_more(SlPeer *peer)
{
	if (peer->answered_in == batch)
		n_awaited--;
	peer->answered_in = 0;
}

void
sl_peers_begin_batch(void)
{
	batch++;
	n_awaited = 0;
}

void
sl_peer_is_answered(SlPeer *peer)
{
	if (peer->answered_in != batch)
		n_awaited++;
	peer->answered_in = batch;
}

int
sl_peers_awaited(void)
{
	return n_awaited;
}

void
sl_peer_waits(SlPeer *peer)
{
	unlist(peer);
	peer->since_us = sl_now_us();
	peer->listed = true;
	dlist_push_tail(&waited_for, &peer->node);
}

void
sl_peer_is_served(SlPeer *peer)
{
	unlist(peer);
	await_no_more(peer);
}

static void
shut(SlPeer *peer)
{
	unlist(peer);
	peer->shut = true;
	shutdown(peer->socket, SHUT_RDWR);
	sl_count(&sl_my_stats->evicted, 1);
}

static SlPeer *
longest_waited_for(void)
{
	return dlist_is_empty(&waited_for) ? NULL : dlist_head_element(SlPeer, node, &waited_for);
}

static void
connection_opened(struct MHD_Connection *connection, void **state)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	SlPeer *peer = calloc(1, sizeof(SlPeer));

	*state = peer;
	n_open++;
	if (peer == NULL || info == NULL)
		return;
	peer->socket = info->connect_fd;
	if (n_open > sl_max_connections && longest_waited_for() != NULL)
		shut(longest_waited_for());
	sl_peer_waits(peer);
}

void
sl_peer_notify(void *listener, struct MHD_Connection *connection, void **state,
			   enum MHD_ConnectionNotificationCode what)
{
	if (what == MHD_CONNECTION_NOTIFY_STARTED)
		connection_opened(connection, state);
	else
	{
		n_open--;
		if (*state != NULL)
		{
			unlist(*state);
			await_no_more(*state);
		}
		free(*state);
		*state = NULL;
	}
	pg_atomic_write_u64(&sl_my_stats->connections, n_open);
}

SlPeer *
sl_peer_of(struct MHD_Connection *connection)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

	return info == NULL ? NULL : info->socket_context;
}

long
sl_peers_sweep(void)
{
	int64	now = sl_now_us();
	int64	limit = (int64) sl_client_timeout(sl_request_timeout) * 1000000;
	SlPeer *peer;

	while ((peer = longest_waited_for()) != NULL && peer->since_us + limit <= now)
		shut(peer);
	return peer == NULL ? -1 : (long) ((peer->since_us + limit - now) / 1000 + 1);
}
