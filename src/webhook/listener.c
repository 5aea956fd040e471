/*
 * webhook/listener.c
 *		The listening socket and libmicrohttpd's daemon on it, as the settings say.
 *
 * libmicrohttpd runs in the main loop's own thread: its epoll descriptor is one of the things that
 * the loop waits for, and sl_listener_run() does what there is to do. When settings change, the
 * daemon is replaced, after what is in the queue has had its answer. The socket stays unless its
 * address changes, so nobody is refused a connection meanwhile. When a new address can't be used,
 * the old one stays in use.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include <fcntl.h>
#include <netdb.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage/fd.h"

#include "webhook/webhook.h"

#define BACKLOG 1024

/* Connections beyond the limit, while those that give way are being closed. */
#define SPARE_CONNECTIONS 128

/* File descriptors that the rest of the process may need. */
#define SPARE_FILES 1200

#define MAX_PEM_SIZE (1024 * 1024)

/* How long what is in the queue may take to be stored before the daemon is stopped. */
#define SETTLE_US 2000000

/* Runs of the daemon before the queue has its turn. */
#define MAX_RUNS 64

/* To begin, send and end an answer. */
#define RUNS_TO_ANSWER 3

/* How long answers, and the reading of long bodies, may keep the queue waiting. */
#define ANSWER_US 5000
#define READ_US 50000

/* What the daemon was started with. */
typedef struct InForce
{
	char *address; /* all malloc'd */
	int	  port;
	bool  shared;
	int	  idle_timeout, max_connections, max_per_address, max_header_size;
	char *certificate, *key; /* NULL: plain HTTP */
} InForce;

static struct MHD_Daemon *daemon_ = NULL;
static int				  listen_socket = -1;
static InForce			  in_force;
static int				  generation = 0; /* counts daemons: a new one may get the old descriptor */

static void
forget(InForce *settings)
{
	free(settings->address);
	free(settings->certificate);
	free(settings->key);
	memset(settings, 0, sizeof(InForce));
}

/* A PEM file's content, malloc'd. NULL and *trouble: it can't be read. */
static char *
read_pem(const char *path, char *trouble, size_t size)
{
	struct stat status;
	int			file = OpenTransientFile(path, O_RDONLY | PG_BINARY);
	char	   *text = NULL;

	if (file >= 0 && fstat(file, &status) == 0 && status.st_size <= MAX_PEM_SIZE)
	{
		text = calloc(1, status.st_size + 1);
		if (text != NULL && read(file, text, status.st_size) != status.st_size)
		{
			free(text);
			text = NULL;
		}
	}
	if (text == NULL)
		snprintf(trouble, size, "could not read file \"%s\": %m", path);
	if (file >= 0)
		CloseTransientFile(file);
	return text;
}

static bool
wanted_settings(InForce *wanted, char *trouble, size_t size)
{
	memset(wanted, 0, sizeof(InForce));
	wanted->address = strdup(sl_listen_address);
	wanted->port = sl_port;
	wanted->shared = sl_receivers > 1;
	wanted->idle_timeout = sl_client_timeout(sl_idle_timeout);
	wanted->max_connections = sl_max_connections;
	wanted->max_per_address = sl_max_connections_per_address;
	wanted->max_header_size = sl_max_header_size;
	if (*sl_tls_certificate_file != '\0')
	{
		wanted->certificate = read_pem(sl_tls_certificate_file, trouble, size);
		wanted->key = wanted->certificate == NULL ? NULL : read_pem(sl_tls_key_file, trouble, size);
		return wanted->key != NULL;
	}
	return true;
}

static bool
same_text(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static bool
same_socket(const InForce *a, const InForce *b)
{
	return same_text(a->address, b->address) && a->port == b->port && a->shared == b->shared;
}

static bool
same_daemon(const InForce *a, const InForce *b)
{
	return a->idle_timeout == b->idle_timeout && a->max_connections == b->max_connections &&
		   a->max_per_address == b->max_per_address && a->max_header_size == b->max_header_size &&
		   same_text(a->certificate, b->certificate) && same_text(a->key, b->key);
}

/* Does the receiver of another database listen there? They would take each other's requests. */
static bool
is_taken_by_another_database(const SlWorkerSlot *mine, int port)
{
	SlWorkers *workers = sl_worker_shared();

	for (int i = 0; i < SL_MAX_WORKERS; i++)
	{
		const SlWorkerSlot *slot = &workers->slots[i];

		if (slot->pid != 0 && slot->database != mine->database && slot->address[0] != '\0' &&
			slot->port == port)
			return true;
	}
	return false;
}

static int
open_socket(const struct addrinfo *place, bool shared)
{
	int on = 1, off = 0;
	int opened = socket(place->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int why;

	if (opened < 0)
		return -1;
	if (setsockopt(opened, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
		(!shared || setsockopt(opened, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) == 0) &&
		(place->ai_family != AF_INET6 ||
		 setsockopt(opened, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) == 0) &&
		bind(opened, place->ai_addr, place->ai_addrlen) == 0 && listen(opened, BACKLOG) == 0)
		return opened;
	why = errno;
	close(opened);
	errno = why;
	return -1;
}

/* A listening socket, or -1 and *trouble. */
static int
listen_at(const InForce *wanted, char *trouble, size_t size)
{
	struct addrinfo	 hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
	struct addrinfo *places, *place;
	bool			 everywhere = strcmp(wanted->address, "*") == 0;
	char			 port[12];
	int				 opened = -1, why;

	hints.ai_flags = AI_NUMERICSERV | (everywhere ? AI_PASSIVE : 0);
	snprintf(port, sizeof(port), "%d", wanted->port);
	why = getaddrinfo(everywhere ? NULL : wanted->address, port, &hints, &places);
	if (why != 0)
	{
		snprintf(trouble, size, "could not resolve \"%s\": %s", wanted->address, gai_strerror(why));
		return -1;
	}
	/* "Everywhere" is best heard on a socket of IPv6, which takes IPv4 as well. */
	for (place = places; everywhere && place != NULL && opened < 0; place = place->ai_next)
		if (place->ai_family == AF_INET6)
			opened = open_socket(place, wanted->shared);
	for (place = places; place != NULL && opened < 0; place = place->ai_next)
		opened = open_socket(place, wanted->shared);
	if (opened < 0)
		snprintf(trouble, size, "could not listen on %s, port %d: %m", wanted->address,
				 wanted->port);
	freeaddrinfo(places);
	return opened;
}

/* Lets the process have as many sockets as its settings allow, if the system does. */
static void
raise_file_limit(void)
{
	struct rlimit limit;
	rlim_t		  wanted = (rlim_t) sl_max_connections + SPARE_CONNECTIONS + SPARE_FILES;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted)
		return;
	limit.rlim_cur = Min(wanted, limit.rlim_max);
	setrlimit(RLIMIT_NOFILE, &limit);
}

static struct MHD_Daemon *
start_daemon(const InForce *wanted)
{
	unsigned int		  flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME;
	struct MHD_OptionItem tls[] = {{MHD_OPTION_HTTPS_MEM_CERT, 0, wanted->certificate},
								   {MHD_OPTION_HTTPS_MEM_KEY, 0, wanted->key},
								   {MHD_OPTION_END, 0, NULL}};
	struct MHD_OptionItem plain[] = {{MHD_OPTION_END, 0, NULL}};

	if (wanted->certificate != NULL)
		flags |= MHD_USE_TLS;
	raise_file_limit();
	generation++;
	return MHD_start_daemon(
		flags, 0, NULL, NULL, sl_request_handle, NULL, MHD_OPTION_LISTEN_SOCKET, listen_socket,
		MHD_OPTION_NOTIFY_COMPLETED, sl_request_completed, NULL, MHD_OPTION_NOTIFY_CONNECTION,
		sl_peer_notify, NULL, MHD_OPTION_CONNECTION_LIMIT,
		(unsigned int) wanted->max_connections + SPARE_CONNECTIONS,
		MHD_OPTION_PER_IP_CONNECTION_LIMIT, (unsigned int) wanted->max_per_address,
		MHD_OPTION_CONNECTION_TIMEOUT, (unsigned int) wanted->idle_timeout,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t) wanted->max_header_size * 1024,
		MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_ARRAY,
		wanted->certificate != NULL ? tls : plain, MHD_OPTION_END);
}

/*
 * Before the daemon is stopped, which ends all connections: what is in the queue gets its answer,
 * and what comes meanwhile is told to come again. libmicrohttpd would abort if a connection were
 * suspended then.
 */
static void
settle(void)
{
	int64 end = sl_now_us() + SETTLE_US;

	sl_queue.closed = true;
	while (sl_queue.count > 0 && sl_now_us() < end)
		sl_store_batch();
	while (sl_queue.count > 0)
		sl_request_answer(dlist_head_element(SlHttpRequest, node, &sl_queue.requests), 503);
	sl_listener_run();
	sl_queue.closed = false;
}

static void
stop_daemon(bool keep_socket)
{
	if (daemon_ == NULL)
		return;
	settle();
	if (MHD_quiesce_daemon(daemon_) == MHD_INVALID_SOCKET)
		listen_socket = -1;
	MHD_stop_daemon(daemon_);
	daemon_ = NULL;
	if (!keep_socket && listen_socket >= 0)
	{
		close(listen_socket);
		listen_socket = -1;
	}
}

void
sl_listener_stop(void)
{
	stop_daemon(false);
	forget(&in_force);
}

/* The new address is free only after we have left ours when the port is the same. */
static bool
move_socket(const InForce *wanted, char *trouble, size_t size)
{
	int opened;

	if (listen_socket >= 0 && in_force.port == wanted->port)
		stop_daemon(false);
	opened = listen_at(wanted, trouble, size);
	if (opened < 0)
		return false;
	stop_daemon(false);
	listen_socket = opened;
	return true;
}

static void
tell(SlWorkerSlot *slot, const InForce *now)
{
	strlcpy(slot->address, now->address, sizeof(slot->address));
	slot->port = now->port;
	sl_worker_set_state(slot, SL_WORKER_RUNNING, NULL);
	ereport(LOG, (errmsg("smartlead receives webhooks on %s, port %d%s", now->address, now->port,
						 now->certificate != NULL ? " (TLS)" : "")));
}

/* Makes what is wanted be in force. False: *trouble tells why that didn't work. */
static bool
enforce(SlWorkerSlot *slot, InForce *wanted, char *trouble, size_t size)
{
	bool moves = listen_socket < 0 || !same_socket(wanted, &in_force);

	if (!moves && daemon_ != NULL && same_daemon(wanted, &in_force))
	{
		forget(wanted);
		return true;
	}
	if (moves && is_taken_by_another_database(slot, wanted->port))
	{
		snprintf(trouble, size,
				 "port %d is in use by the receiver of another database; give this one its own "
				 "with ALTER DATABASE ... SET smartlead.port",
				 wanted->port);
		return false;
	}
	if (moves && !move_socket(wanted, trouble, size))
		return false;
	stop_daemon(true);
	sl_responses_create();
	daemon_ = start_daemon(wanted);
	if (daemon_ == NULL)
	{
		snprintf(trouble, size, "could not start the HTTP server%s",
				 wanted->certificate != NULL ? "; are certificate and key a pair?" : "");
		if (!moves)
			daemon_ = start_daemon(&in_force);
		return false;
	}
	forget(&in_force);
	in_force = *wanted;
	tell(slot, &in_force);
	return true;
}

bool
sl_listener_update(SlWorkerSlot *slot)
{
	char	trouble[192] = "";
	InForce wanted;

	if (wanted_settings(&wanted, trouble, sizeof(trouble)) &&
		enforce(slot, &wanted, trouble, sizeof(trouble)))
		return true;
	forget(&wanted);
	if (daemon_ == NULL)
		slot->address[0] = '\0';
	if (strcmp(slot->trouble, trouble) != 0)
		ereport(WARNING,
				(errmsg("smartlead's receiver of webhooks %s: %s",
						daemon_ == NULL ? "does not listen" : "stays where it was", trouble)));
	sl_worker_set_state(slot, daemon_ == NULL ? SL_WORKER_WAITING : SL_WORKER_RUNNING, trouble);
	return false;
}

int
sl_listener_generation(void)
{
	return generation;
}

int
sl_listener_descriptor(void)
{
	const union MHD_DaemonInfo *info =
		daemon_ == NULL ? NULL : MHD_get_daemon_info(daemon_, MHD_DAEMON_INFO_EPOLL_FD);

	return info == NULL ? -1 : info->epoll_fd;
}

long
sl_listener_timeout(void)
{
	MHD_UNSIGNED_LONG_LONG timeout;
	long				   sweep = sl_peers_sweep();

	if (daemon_ == NULL || MHD_get_timeout(daemon_, &timeout) != MHD_YES)
		return sweep;
	if (timeout > INT_MAX)
		timeout = INT_MAX;
	return sweep < 0 ? (long) timeout : Min(sweep, (long) timeout);
}

/*
 * Run until nothing is left to do. Requests in the queue always count as something, so while there
 * are any, go on only as long as runs bring something: answers, which take a run to begin, one to
 * send and one to end, and the next requests behind them; or more of a long body, of which a run
 * brings a piece. Floods of refused requests or of long bodies must not keep others waiting, though.
 */
void
sl_listener_run(void)
{
	int64				   start = sl_now_us();
	MHD_UNSIGNED_LONG_LONG timeout;

	if (daemon_ == NULL)
		return;
	for (int i = 1; i <= MAX_RUNS; i++)
	{
		uint64 taken = sl_queue.taken, ended = sl_queue.ended;
		bool   is_answering, is_reading;
		int64  took;

		MHD_run(daemon_);
		if (MHD_get_timeout(daemon_, &timeout) != MHD_YES || timeout > 0)
			break;
		took = sl_now_us() - start;
		is_answering = (sl_queue.ended != ended && took < ANSWER_US) ||
					   (sl_queue.answering > 0 && i < RUNS_TO_ANSWER);
		is_reading = sl_queue.taken != taken && sl_queue.unfinished > 0 && took < READ_US;
		if (sl_queue.count > 0 && !is_answering && !is_reading)
			break;
	}
}
