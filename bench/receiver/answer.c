/*
 * answer.c
 *		libmicrohttpd answering 200 to everything: what the HTTP of a receiver costs without a database.
 *
 *		answer PORT
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <microhttpd.h>
#include <poll.h>

static enum MHD_Result
on_request(void *arg, struct MHD_Connection *connection, const char *url, const char *method,
		   const char *version, const char *data, size_t *size, void **state)
{
	static int			 begun;
	struct MHD_Response *response;
	enum MHD_Result		 result;

	(void) arg, (void) url, (void) method, (void) version, (void) data;
	if (*state == NULL || *size > 0)
	{
		*state = &begun;
		*size = 0;
		return MHD_YES;
	}
	response = MHD_create_response_from_buffer(0, "", MHD_RESPMEM_PERSISTENT);
	result = MHD_queue_response(connection, 200, response);
	MHD_destroy_response(response);
	return result;
}

/* The loop is outside the library, as a receiver's is. */
static int
serve(struct MHD_Daemon *daemon)
{
	struct pollfd waiting = {.events = POLLIN};

	waiting.fd = MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
	for (;;)
	{
		MHD_UNSIGNED_LONG_LONG timeout;
		bool				   has_timeout = MHD_get_timeout(daemon, &timeout) == MHD_YES;

		if (poll(&waiting, 1, has_timeout ? (int) timeout : -1) < 0 || MHD_run(daemon) != MHD_YES)
			return 1;
	}
}

int
main(int argc, char **argv)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	struct MHD_Daemon *daemon;

	if (argc != 2)
		return 2;
	address.sin_port = htons(atoi(argv[1]));
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	daemon = MHD_start_daemon(MHD_USE_EPOLL, 0, NULL, NULL, on_request, NULL, MHD_OPTION_SOCK_ADDR,
							  (struct sockaddr *) &address, MHD_OPTION_CONNECTION_LIMIT, 2000u,
							  MHD_OPTION_LISTEN_BACKLOG_SIZE, 1024u, MHD_OPTION_END);
	return daemon == NULL ? 1 : serve(daemon);
}
