/*
 * webhook/listener.c
 *		The listening socket and libmicrohttpd's daemon on it, as the settings say.
 *
 * libmicrohttpd runs in the main loop's own thread: its epoll descriptor is one of the things that
 * the loop waits for, and sl_listener_run() does what there is to do. When settings change, another
 * daemon takes the place of the present one, which takes no new connections any more and leaves with
 * its last one: each ends with its next answer, or by its own time limits. The socket stays unless its
 * address changes, so nobody is refused a connection meanwhile. When the new settings can't be used (an
 * address, a certificate), the present daemon goes on undisturbed.
 *
 * A daemon gets a duplicate of the socket, since it closes what it was given when it can't start.
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

#include "lib/ilist.h"
#include "storage/fd.h"
#include "utils/memutils.h"

#include "webhook/webhook.h"

#define BACKLOG 1024

/* Connections beyond the limit, while those that give way are being closed. */
#define SPARE_CONNECTIONS 128

/* File descriptors that the rest of the process may need. */
#define SPARE_FILES 1200

#define MAX_PEM_SIZE (1024 * 1024)

/* How long what is in the queue may take to be stored before all daemons are stopped. */
#define SETTLE_US 2000000

/* Runs of the daemon before the queue has its turn. */
#define MAX_RUNS 64

/* To begin, send and end an answer. */
#define RUNS_TO_ANSWER 3

/* How long answers, and the reading of long bodies, may keep the queue waiting. */
#define ANSWER_US 5000
#define READ_US 50000

/* For another receiver of this database to say where it listens. */
#define SIBLING_TRIES 20
#define SIBLING_PAUSE_MS 10

/* What the daemon was started with. */
typedef struct InForce
{
	char *address; /* all malloc'd */
	int	  port;
	bool  shared;
	int	  idle_timeout, max_connections, max_per_address, max_header_size;
	char *certificate, *key; /* NULL: plain HTTP */
} InForce;

typedef struct Listener
{
	int				   socket; /* -1: none */
	struct MHD_Daemon *daemon; /* on a duplicate of it; NULL: none */
} Listener;

/* A daemon that another one has taken the place of. */
typedef struct Leaving
{
	slist_node		   node;
	struct MHD_Daemon *daemon;
} Leaving;

static Listener	  current = {-1, NULL};
static slist_head leaving = SLIST_STATIC_INIT(leaving);
static InForce	  in_force;
static int		  generation = 0; /* counts daemons: a new one may get the old descriptor */

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
	return same_text(a->address, b->address) && a->port == b->port;
}

static bool
same_daemon(const InForce *a, const InForce *b)
{
	return a->idle_timeout == b->idle_timeout && a->max_connections == b->max_connections &&
		   a->max_per_address == b->max_per_address && a->max_header_size == b->max_header_size &&
		   same_text(a->certificate, b->certificate) && same_text(a->key, b->key);
}

/* Does a receiver listen on that port, of this database or of another one? */
static bool
is_taken(const SlWorkerSlot *mine, int port, bool by_another_database)
{
	SlWorkers *workers = sl_worker_shared();

	for (int i = 0; i < SL_MAX_WORKERS; i++)
	{
		const SlWorkerSlot *slot = &workers->slots[i];

		if (slot != mine && slot->pid != 0 && slot->address[0] != '\0' && slot->port == port &&
			(slot->database != mine->database) == by_another_database)
			return true;
	}
	return false;
}

/* The others of this database are opening their listeners at the same moment. */
static bool
is_sibling_there(const SlWorkerSlot *mine, int port)
{
	for (int i = 0; i < SIBLING_TRIES; i++)
	{
		if (is_taken(mine, port, false))
			return true;
		(void) WaitLatch(MyLatch, WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, SIBLING_PAUSE_MS,
						 PG_WAIT_EXTENSION);
	}
	return false;
}

static bool
set_shared(int socket, bool shared)
{
	int on = shared;

	return setsockopt(socket, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) == 0;
}

/* -1 and errno: it can't be had. */
static int
open_socket(const struct addrinfo *place, bool shared)
{
	int on = 1, off = 0;
	int opened = socket(place->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int why;

	if (opened < 0)
		return -1;
	if (setsockopt(opened, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
		(!shared || set_shared(opened, true)) &&
		(place->ai_family != AF_INET6 ||
		 setsockopt(opened, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) == 0) &&
		bind(opened, place->ai_addr, place->ai_addrlen) == 0 && listen(opened, BACKLOG) == 0)
		return opened;
	why = errno;
	close(opened);
	errno = why;
	return -1;
}

/*
 * A place that is shared is shared with the receivers of this database only, while the system would let
 * any process of the same user in, such as another cluster's receiver. So it is claimed alone first,
 * and let be shared afterwards; who comes later joins if it is one of ours that has it.
 */
static int
claim(const SlWorkerSlot *slot, const struct addrinfo *place, const InForce *wanted)
{
	int opened = open_socket(place, false);

	if (opened >= 0 || errno != EADDRINUSE || !wanted->shared)
		return opened;
	if (is_sibling_there(slot, wanted->port))
		return open_socket(place, true);
	errno = EADDRINUSE;
	return -1;
}

/* A listening socket; or -1, errno and *trouble. */
static int
listen_at(const SlWorkerSlot *slot, const InForce *wanted, char *trouble, size_t size)
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
		errno = 0;
		return -1;
	}
	/* "Everywhere" is best heard on a socket of IPv6, which takes IPv4 as well. */
	for (place = places; everywhere && place != NULL && opened < 0; place = place->ai_next)
		if (place->ai_family == AF_INET6)
			opened = claim(slot, place, wanted);
	for (place = places; place != NULL && opened < 0; place = place->ai_next)
		opened = claim(slot, place, wanted);
	why = errno;
	freeaddrinfo(places);
	errno = why;
	if (opened < 0)
		snprintf(trouble, size, "could not listen on %s, port %d: %m", wanted->address,
				 wanted->port);
	errno = why;
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

static bool
is_same_file(int a, int b)
{
	struct stat first, second;

	return fstat(a, &first) == 0 && fstat(b, &second) == 0 && first.st_dev == second.st_dev &&
		   first.st_ino == second.st_ino;
}

/* NULL and *trouble: it can't start. */
static struct MHD_Daemon *
start_daemon(const InForce *wanted, int socket, char *trouble, size_t size)
{
	unsigned int		  flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME;
	struct MHD_OptionItem tls[] = {{MHD_OPTION_HTTPS_MEM_CERT, 0, wanted->certificate},
								   {MHD_OPTION_HTTPS_MEM_KEY, 0, wanted->key},
								   {MHD_OPTION_END, 0, NULL}};
	struct MHD_OptionItem plain[] = {{MHD_OPTION_END, 0, NULL}};
	int					  duplicate = fcntl(socket, F_DUPFD_CLOEXEC, 0);
	struct MHD_Daemon	 *started = NULL;

	if (wanted->certificate != NULL)
		flags |= MHD_USE_TLS;
	raise_file_limit();
	if (duplicate >= 0)
		started = MHD_start_daemon(
			flags, 0, NULL, NULL, sl_request_handle, NULL, MHD_OPTION_LISTEN_SOCKET, duplicate,
			MHD_OPTION_NOTIFY_COMPLETED, sl_request_completed, NULL, MHD_OPTION_NOTIFY_CONNECTION,
			sl_peer_notify, NULL, MHD_OPTION_CONNECTION_LIMIT,
			(unsigned int) wanted->max_connections + SPARE_CONNECTIONS,
			MHD_OPTION_PER_IP_CONNECTION_LIMIT, (unsigned int) wanted->max_per_address,
			MHD_OPTION_CONNECTION_TIMEOUT, (unsigned int) wanted->idle_timeout,
			MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t) wanted->max_header_size * 1024,
			MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_ARRAY,
			wanted->certificate != NULL ? tls : plain, MHD_OPTION_END);
	if (started != NULL)
		return started;
	/* Whether it is closed now depends on where it failed, and on the version. */
	if (duplicate >= 0 && is_same_file(duplicate, socket))
		close(duplicate);
	snprintf(trouble, size, "could not start the HTTP server%s",
			 wanted->certificate != NULL ? "; are certificate and key a pair?" : "");
	return NULL;
}

static void
quiesce(struct MHD_Daemon *daemon)
{
	int duplicate = MHD_quiesce_daemon(daemon);

	if (duplicate != MHD_INVALID_SOCKET)
		close(duplicate);
}

static unsigned int
connections_of(struct MHD_Daemon *daemon)
{
	const union MHD_DaemonInfo *info =
		MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_CURRENT_CONNECTIONS);

	return info == NULL ? 0 : info->num_connections;
}

/* A socket that is about to be closed may hold clients that nobody has taken yet: a run takes a few. */
static void
take_connections(struct MHD_Daemon *daemon)
{
	unsigned int before;
	int			 runs = 0;

	do
	{
		before = connections_of(daemon);
		MHD_run(daemon);
	} while (connections_of(daemon) > before && ++runs < MAX_RUNS);
}

/* Another socket or daemon, if given, takes the place of what is in force. */
static void
replace(int socket, struct MHD_Daemon *daemon)
{
	if (current.daemon != NULL)
	{
		Leaving *last = MemoryContextAlloc(TopMemoryContext, sizeof(Leaving));

		if (current.socket != socket)
			take_connections(current.daemon);
		quiesce(current.daemon);
		last->daemon = current.daemon;
		slist_push_head(&leaving, &last->node);
	}
	if (current.socket >= 0 && current.socket != socket)
		close(current.socket);
	current.socket = socket;
	current.daemon = daemon;
	generation++;
}

static void
stop_leaving(bool with_connections)
{
	slist_mutable_iter iter;

	slist_foreach_modify (iter, &leaving)
	{
		Leaving *one = slist_container(Leaving, node, iter.cur);

		if (!with_connections && connections_of(one->daemon) > 0)
			continue;
		slist_delete_current(&iter);
		MHD_stop_daemon(one->daemon);
		pfree(one);
		generation++;
	}
}

/*
 * Before daemons are stopped, which ends their connections: what is in the queue gets its answer,
 * and what comes meanwhile is told to come again. Nothing is suspended then (request.c), for
 * libmicrohttpd aborts when a connection is.
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
}

void
sl_listener_stop(void)
{
	settle();
	replace(-1, NULL);
	stop_leaving(true);
	sl_queue.closed = false;
	forget(&in_force);
}

void
sl_listener_clear(void)
{
	stop_leaving(false);
}

bool
sl_listener_leaves(struct MHD_Connection *connection)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(connection, MHD_CONNECTION_INFO_DAEMON);

	return info != NULL && info->daemon != current.daemon;
}

/* Opens what is wanted, beside what is in force until that has worked. */
static bool
open_listener(const SlWorkerSlot *slot, const InForce *wanted, bool moves, char *trouble,
			  size_t size)
{
	int				   socket = moves ? listen_at(slot, wanted, trouble, size) : current.socket;
	struct MHD_Daemon *daemon;

	if (socket < 0)
		return false;
	daemon = start_daemon(wanted, socket, trouble, size);
	if (daemon == NULL && moves)
		close(socket);
	if (daemon == NULL)
		return false;
	set_shared(socket, wanted->shared);
	replace(socket, daemon);
	return true;
}

/* Is what is in the way of that address perhaps our own socket? */
static bool
is_in_own_way(const InForce *wanted, bool moves, int why)
{
	return moves && why == EADDRINUSE && current.socket >= 0 && in_force.port == wanted->port;
}

/*
 * The new address is free only after we have left ours. So that is left, if nothing else speaks
 * against the new settings, and taken again if that was in vain.
 */
static bool
exchange_addresses(const SlWorkerSlot *slot, const InForce *wanted, char *trouble, size_t size)
{
	char			   ignored[192];
	struct MHD_Daemon *trial = start_daemon(wanted, current.socket, trouble, size);

	if (trial == NULL)
		return false;
	quiesce(trial);
	MHD_stop_daemon(trial);
	replace(-1, NULL);
	if (open_listener(slot, wanted, true, trouble, size))
		return true;
	(void) open_listener(slot, &in_force, true, ignored, sizeof(ignored));
	return false;
}

/*
 * libmicrohttpd has found itself broken, and would abort, which would take the whole server down. It is
 * never called within a transaction or with a lock held, so this process can end as after any fatal
 * error; the launcher starts another one.
 */
static void
end_alone(void *unused, const char *file, unsigned int line, const char *reason)
{
	ereport(FATAL,
			(errcode(ERRCODE_INTERNAL_ERROR),
			 errmsg("smartlead's receiver of webhooks ends: %s", reason == NULL ? "" : reason),
			 errdetail_internal("libmicrohttpd, %s:%u", file == NULL ? "" : file, line)));
}

static void
tell(SlWorkerSlot *slot, const InForce *now)
{
	strlcpy(slot->address, now->address, sizeof(slot->address));
	slot->port = now->port;
	sl_receiver_listens(SL_WORKER_RUNNING, NULL);
	ereport(LOG, (errmsg("smartlead receives webhooks on %s, port %d%s", now->address, now->port,
						 now->certificate != NULL ? " (TLS)" : "")));
}

/* Makes what is wanted be in force. False: *trouble tells why that didn't work. */
static bool
enforce(SlWorkerSlot *slot, InForce *wanted, char *trouble, size_t size)
{
	bool moves = current.socket < 0 || !same_socket(wanted, &in_force);
	bool opened;

	if (!moves && current.daemon != NULL && same_daemon(wanted, &in_force))
	{
		set_shared(current.socket, wanted->shared);
		forget(&in_force);
		in_force = *wanted;
		return true;
	}
	if (moves && is_taken(slot, wanted->port, true))
	{
		snprintf(trouble, size,
				 "port %d is in use by the receiver of another database; give this one its own "
				 "with ALTER DATABASE ... SET smartlead.port",
				 wanted->port);
		return false;
	}
	MHD_set_panic_func(end_alone, NULL);
	sl_responses_create();
	opened = open_listener(slot, wanted, moves, trouble, size);
	if (!opened && is_in_own_way(wanted, moves, errno))
		opened = exchange_addresses(slot, wanted, trouble, size);
	if (!opened)
		return false;
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
	{
		if (slot->trouble[0] != '\0')
			sl_receiver_listens(SL_WORKER_RUNNING, NULL);
		return true;
	}
	forget(&wanted);
	if (current.daemon == NULL)
		slot->address[0] = '\0';
	if (strcmp(slot->trouble, trouble) != 0)
		ereport(WARNING, (errmsg("smartlead's receiver of webhooks %s: %s",
								 current.daemon == NULL ? "does not listen" : "stays where it was",
								 trouble)));
	sl_receiver_listens(current.daemon == NULL ? SL_WORKER_WAITING : SL_WORKER_RUNNING, trouble);
	return false;
}

int
sl_listener_generation(void)
{
	return generation;
}

static int
descriptor_of(struct MHD_Daemon *daemon)
{
	const union MHD_DaemonInfo *info = MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_EPOLL_FD);

	return info == NULL ? -1 : info->epoll_fd;
}

int
sl_listener_descriptors(int **descriptors)
{
	slist_iter iter;
	int		   n = 1;

	slist_foreach (iter, &leaving)
		n++;
	*descriptors = palloc(sizeof(int) * n);
	n = 0;
	if (current.daemon != NULL)
		(*descriptors)[n++] = descriptor_of(current.daemon);
	slist_foreach (iter, &leaving)
		(*descriptors)[n++] = descriptor_of(slist_container(Leaving, node, iter.cur)->daemon);
	return n;
}

/* The sooner of a time and of when a daemon wants to run; milliseconds, or -1. */
static long
sooner_of(struct MHD_Daemon *daemon, long time)
{
	MHD_UNSIGNED_LONG_LONG timeout;

	if (MHD_get_timeout(daemon, &timeout) != MHD_YES)
		return time;
	if (timeout > INT_MAX)
		timeout = INT_MAX;
	return time < 0 ? (long) timeout : Min(time, (long) timeout);
}

static long
daemons_timeout(long time)
{
	slist_iter iter;

	if (current.daemon != NULL)
		time = sooner_of(current.daemon, time);
	slist_foreach (iter, &leaving)
		time = sooner_of(slist_container(Leaving, node, iter.cur)->daemon, time);
	return time;
}

static void
run_daemons(void)
{
	slist_iter iter;

	if (current.daemon != NULL)
		MHD_run(current.daemon);
	slist_foreach (iter, &leaving)
		MHD_run(slist_container(Leaving, node, iter.cur)->daemon);
}

long
sl_listener_timeout(void)
{
	return daemons_timeout(sl_peers_sweep());
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
	int64 start = sl_now_us();

	for (int i = 1; i <= MAX_RUNS; i++)
	{
		uint64 taken = sl_queue.taken, ended = sl_queue.ended;
		bool   is_answering, is_reading;
		int64  took;

		run_daemons();
		if (daemons_timeout(-1) != 0)
			break;
		took = sl_now_us() - start;
		is_answering = (sl_queue.ended != ended && took < ANSWER_US) ||
					   (sl_queue.answering > 0 && i < RUNS_TO_ANSWER);
		is_reading = sl_queue.taken != taken && sl_queue.unfinished > 0 && took < READ_US;
		if (sl_queue.count > 0 && !is_answering && !is_reading)
			break;
	}
}
