/*
 * answer.c
 *		libmicrohttpd answering 200 to everything: what the HTTP of a receiver costs without a database.
 *
 *		answer PORT
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <microhttpd.h>

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

int
main(int argc, char **argv)
{
	struct sockaddr_in address = {.sin_family = AF_INET};

	if (argc != 2)
		return 2;
	address.sin_port = htons(atoi(argv[1]));
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD, 0, NULL, NULL, on_request, NULL,
						 MHD_OPTION_SOCK_ADDR, (struct sockaddr *) &address,
						 MHD_OPTION_CONNECTION_LIMIT, 2000u, MHD_OPTION_END) == NULL)
		return 1;
	pause();
	return 0;
}
