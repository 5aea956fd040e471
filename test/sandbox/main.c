/*
 * main.c
 *		An imitation of Smartlead for tests, demo and bench: its command line and its loop.
 *
 *		sandbox [--port N] [--port-file FILE] [--big N] [--log FILE] [--quiet]
 *
 * One thread. libmicrohttpd serves HTTP, libcurl sends webhooks, and the loop waits for both and for
 * the timers of answers that are due later.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include <arpa/inet.h>
#include <getopt.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <curl/curl.h>
#include <zlib.h>

#include "sandbox.h"

/* An answer that is due later, or a body that drips. */
typedef struct Pending
{
	struct Pending *next;
	Call		   *call;
	int64_t			due_ms;
	bool			suspended;
	bool			ready; /* the time has come: answer */
	size_t			dripped;
} Pending;

static volatile sig_atomic_t stopping = 0;
static int64_t				 n_connections = 0;
static int					 in_flight = 0;
static Pending				*waiting = NULL;

int64_t
now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
}

const char *
query_value(const Call *call, const char *name)
{
	if (fault_hides(call, name))
		return NULL;
	return MHD_lookup_connection_value(call->connection, MHD_GET_ARGUMENT_KIND, name);
}

static void
on_signal(int number)
{
	stopping = 1;
}

/* ---- answers ---- */

static void
add_headers(struct MHD_Response *response, const char *lines)
{
	char  copy[512];
	char *state = NULL;

	snprintf(copy, sizeof(copy), "%s", lines);
	for (char *line = strtok_r(copy, "\n", &state); line != NULL;
		 line = strtok_r(NULL, "\n", &state))
	{
		char *colon = strchr(line, ':');

		if (colon == NULL)
			continue;
		*colon = '\0';
		MHD_add_response_header(response, line, colon + 1 + strspn(colon + 1, " "));
	}
}

/* Sends what there is and then breaks off, though more was promised. */
static ssize_t
break_off(void *arg, uint64_t position, char *buffer, size_t most)
{
	Call  *call = arg;
	size_t left = position < call->answer_length ? call->answer_length - position : 0;

	if (left == 0)
		return MHD_CONTENT_READER_END_WITH_ERROR;
	left = left < most ? left : most;
	memcpy(buffer, call->answer + position, left);
	return (ssize_t) left;
}

static ssize_t
endless(void *arg, uint64_t position, char *buffer, size_t most)
{
	Call *call = arg;

	if ((int64_t) position >= call->fault->bytes)
		return MHD_CONTENT_READER_END_OF_STREAM;
	memset(buffer, position == 0 ? '"' : 'x', most);
	return (ssize_t) most;
}

static Pending *
pending_of(const Call *call)
{
	for (Pending *pending = waiting; pending != NULL; pending = pending->next)
		if (pending->call == call)
			return pending;
	return NULL;
}

/* One byte, then a rest until the next. */
static ssize_t
drip(void *arg, uint64_t position, char *buffer, size_t most)
{
	Call	*call = arg;
	Pending *pending = pending_of(call);

	if (position >= call->answer_length)
		return MHD_CONTENT_READER_END_OF_STREAM;
	if (pending->due_ms > now_ms())
	{
		pending->suspended = true;
		MHD_suspend_connection(call->connection);
		return 0;
	}
	pending->due_ms = now_ms() + call->fault->delay_ms;
	buffer[0] = call->answer[position];
	return 1;
}

static struct MHD_Response *
compressed(Call *call)
{
	const char *accepted =
		MHD_lookup_connection_value(call->connection, MHD_HEADER_KIND, "Accept-Encoding");
	z_stream			 stream = {0};
	size_t				 size = compressBound(call->answer_length) + 64;
	unsigned char		*out;
	struct MHD_Response *response;

	if (!switch_on("gzip") || accepted == NULL || strstr(accepted, "gzip") == NULL)
		return NULL;
	out = malloc(size);
	deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
	stream.next_in = (unsigned char *) call->answer;
	stream.avail_in = call->answer_length;
	stream.next_out = out;
	stream.avail_out = size;
	deflate(&stream, Z_FINISH);
	response = MHD_create_response_from_buffer(stream.total_out, out, MHD_RESPMEM_MUST_FREE);
	deflateEnd(&stream);
	MHD_add_response_header(response, "Content-Encoding", "gzip");
	return response;
}

static bool
fault_is(const Call *call, const char *kind)
{
	return call->fault != NULL && strcmp(call->fault->kind, kind) == 0;
}

static struct MHD_Response *
make_response(Call *call)
{
	struct MHD_Response *response;

	if (fault_is(call, "drop_mid_body"))
		return MHD_create_response_from_callback(call->answer_length + 1000, 16384, break_off, call,
												 NULL);
	if (fault_is(call, "huge"))
		return MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 65536, endless, call, NULL);
	if (fault_is(call, "drip"))
		return MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 16, drip, call, NULL);
	response = compressed(call);
	if (response == NULL)
		response = MHD_create_response_from_buffer(call->answer_length, call->answer,
												   MHD_RESPMEM_PERSISTENT);
	return response;
}

static enum MHD_Result
send_answer(Call *call)
{
	struct MHD_Response *response;
	enum MHD_Result		 result;

	if (fault_is(call, "drop") || fault_is(call, "process_then_drop"))
		return MHD_NO;
	if (call->status == 0)
		call->status = 200;
	log_status(call->log_number, call->status);
	response = make_response(call);
	if (call->content_type != NULL)
		MHD_add_response_header(response, "Content-Type", call->content_type);
	add_headers(response, call->headers);
	result = MHD_queue_response(call->connection, call->status, response);
	MHD_destroy_response(response);
	return result;
}

/* ---- requests ---- */

static enum MHD_Result
add_to_query(void *arg, enum MHD_ValueKind kind, const char *name, const char *value)
{
	Call *call = arg;
	char *longer;

	if (strcmp(name, "api_key") == 0)
		return MHD_YES;
	if (asprintf(&longer, "%s%s%s=%s", call->query, call->query[0] ? "&" : "", name,
				 value != NULL ? value : "") < 0)
		return MHD_NO;
	free(call->query);
	call->query = longer;
	return MHD_YES;
}

static void
read_path(Call *call, const char *url)
{
	size_t length;

	if (strncmp(url, "/api/v1/", 8) == 0)
		url += 7;
	else if (strncmp(url, "/_sandbox", 9) != 0)
		url = "/outside-of-the-api";
	snprintf(call->path, sizeof(call->path), "%s", url);
	snprintf(call->logged_path, sizeof(call->logged_path), "%s", url);
	length = strlen(call->path);
	if (length > 1 && call->path[length - 1] == '/')
		call->path[length - 1] = '\0';
}

static int64_t
connection_number(struct MHD_Connection *connection)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

	return info != NULL ? (int64_t) (intptr_t) info->socket_context : 0;
}

/* Puts the answer off; it comes when the loop resumes the connection. */
static void
put_off(Call *call, int64_t due_ms)
{
	Pending *pending = calloc(1, sizeof(Pending));

	pending->call = call;
	pending->due_ms = due_ms;
	pending->suspended = due_ms > now_ms();
	pending->next = waiting;
	waiting = pending;
	if (pending->suspended)
		MHD_suspend_connection(call->connection);
}

static enum MHD_Result
handle(Call *call)
{
	struct MHD_Connection *connection = call->connection;

	call->body =
		call->raw_length > 0 ? cJSON_ParseWithLength(call->raw_body, call->raw_length) : NULL;
	if (control(call))
		return send_answer(call);
	call->query = strdup("");
	MHD_get_connection_values(connection, MHD_GET_ARGUMENT_KIND, add_to_query, call);
	call->workspace = workspace_of(query_value(call, "api_key"));
	in_flight++;
	call->log_number =
		log_request(call, connection_number(connection), in_flight,
					MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "User-Agent"),
					MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Accept-Encoding"));
	call->delay_ms = (int) switch_number("latency_ms");
	route(call);
	if (fault_is(call, "hang"))
	{
		put_off(call, INT64_MAX);
		return MHD_YES;
	}
	if (fault_is(call, "drip"))
		put_off(call, now_ms());
	else if (call->delay_ms > 0)
	{
		put_off(call, now_ms() + call->delay_ms);
		return MHD_YES;
	}
	return send_answer(call);
}

static enum MHD_Result
on_request(void *arg, struct MHD_Connection *connection, const char *url, const char *method,
		   const char *version, const char *data, size_t *size, void **state)
{
	Call *call = *state;

	if (call == NULL)
	{
		call = calloc(1, sizeof(Call));
		call->connection = connection;
		call->method = method;
		read_path(call, url);
		*state = call;
		return MHD_YES;
	}
	if (*size > 0)
	{
		call->raw_body = realloc(call->raw_body, call->raw_length + *size + 1);
		memcpy(call->raw_body + call->raw_length, data, *size);
		call->raw_length += *size;
		call->raw_body[call->raw_length] = '\0';
		*size = 0;
		return MHD_YES;
	}
	/* Called again after a rest: what was put off is due. */
	if (pending_of(call) != NULL && pending_of(call)->ready)
		return send_answer(call);
	return handle(call);
}

static void
on_completed(void *arg, struct MHD_Connection *connection, void **state,
			 enum MHD_RequestTerminationCode code)
{
	Call *call = *state;

	if (call == NULL)
		return;
	for (Pending **place = &waiting; *place != NULL; place = &(*place)->next)
		if ((*place)->call == call)
		{
			Pending *gone = *place;

			*place = gone->next;
			free(gone);
			break;
		}
	if (call->query != NULL)
		in_flight--;
	cJSON_Delete(call->body);
	free(call->raw_body);
	free(call->query);
	free(call->answer);
	free(call);
	*state = NULL;
}

static void
on_connection(void *arg, struct MHD_Connection *connection, void **context,
			  enum MHD_ConnectionNotificationCode code)
{
	if (code == MHD_CONNECTION_NOTIFY_STARTED)
		*context = (void *) (intptr_t) ++n_connections;
}

/* ---- the loop ---- */

static void
resume_what_is_due(void)
{
	int64_t now = now_ms();

	for (Pending *pending = waiting; pending != NULL; pending = pending->next)
		if (pending->suspended && (pending->due_ms <= now || stopping))
		{
			pending->suspended = false;
			pending->ready = true;
			MHD_resume_connection(pending->call->connection);
		}
}

/* How long the loop may sleep: until an answer, a webhook or libmicrohttpd is due. */
static int
time_to_sleep(struct MHD_Daemon *daemon)
{
	int64_t				   now = now_ms();
	int64_t				   next = deliver_next_ms();
	int64_t				   timeout;
	MHD_UNSIGNED_LONG_LONG mhd_timeout;

	for (const Pending *pending = waiting; pending != NULL; pending = pending->next)
		if (pending->suspended && pending->due_ms < next)
			next = pending->due_ms;
	timeout = next > now + 60000 ? 60000 : next > now ? next - now : 0;
	if (MHD_get_timeout(daemon, &mhd_timeout) == MHD_YES && (int64_t) mhd_timeout < timeout)
		timeout = (int64_t) mhd_timeout;
	return (int) timeout;
}

static void
loop(struct MHD_Daemon *daemon)
{
	int epoll_fd = MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;

	while (!stopping)
	{
		struct curl_waitfd extra = {epoll_fd, CURL_WAIT_POLLIN, 0};

		resume_what_is_due();
		/* A resumed connection is taken up by one run and served by the next. */
		MHD_run(daemon);
		MHD_run(daemon);
		deliver_run();
		curl_multi_poll(deliver_multi(), &extra, 1, time_to_sleep(daemon), NULL);
	}
	resume_what_is_due();
	MHD_run(daemon);
}

static int
listen_on(int port, int *chosen)
{
	int				   one = 1;
	int				   fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
	socklen_t		   length = sizeof(address);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (fd < 0 || bind(fd, (struct sockaddr *) &address, sizeof(address)) != 0 ||
		listen(fd, 1024) != 0 || getsockname(fd, (struct sockaddr *) &address, &length) != 0)
		return -1;
	*chosen = ntohs(address.sin_port);
	return fd;
}

static void
write_port(const char *file, int port)
{
	char  temporary[1024];
	FILE *out;

	snprintf(temporary, sizeof(temporary), "%s.new", file);
	if ((out = fopen(temporary, "w")) == NULL)
		return;
	fprintf(out, "%d\n", port);
	fclose(out);
	rename(temporary, file);
}

int
main(int argc, char **argv)
{
	static const struct option options[] = {
		{"port", required_argument, NULL, 'p'}, {"port-file", required_argument, NULL, 'f'},
		{"big", required_argument, NULL, 'b'},	{"log", required_argument, NULL, 'l'},
		{"quiet", no_argument, NULL, 'q'},		{NULL, 0, NULL, 0}};
	struct sigaction   action = {.sa_handler = on_signal};
	const char		  *port_file = NULL;
	struct MHD_Daemon *daemon;
	bool			   quiet = false;
	int				   port = 0, fd, option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
		switch (option)
		{
			case 'p':
				port = atoi(optarg);
				break;
			case 'f':
				port_file = optarg;
				break;
			case 'b':
				big_campaign_size = atoll(optarg);
				break;
			case 'l':
				if (freopen(optarg, "a", stderr) == NULL)
					return 1;
				break;
			case 'q':
				quiet = true;
				break;
			default:
				fprintf(stderr,
						"usage: sandbox [--port N] [--port-file FILE] [--big N] [--log FILE] "
						"[--quiet]\n");
				return 2;
		}
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	signal(SIGPIPE, SIG_IGN);
	switches_reset();
	workspaces_reset();
	deliver_init();
	if ((fd = listen_on(port, &port)) < 0)
	{
		perror("sandbox: could not listen");
		return 1;
	}
	daemon = MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, NULL,
							  NULL, on_request, NULL, MHD_OPTION_LISTEN_SOCKET, fd,
							  MHD_OPTION_CONNECTION_LIMIT, 4000u, MHD_OPTION_NOTIFY_COMPLETED,
							  on_completed, NULL, MHD_OPTION_NOTIFY_CONNECTION, on_connection, NULL,
							  MHD_OPTION_END);
	if (daemon == NULL)
		return 1;
	if (port_file != NULL)
		write_port(port_file, port);
	if (!quiet)
		printf("listening on http://127.0.0.1:%d/api/v1\n", port);
	fflush(stdout);
	loop(daemon);
	deliver_reset();
	MHD_stop_daemon(daemon);
	return 0;
}
