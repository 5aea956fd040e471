/*
 * webhook/request.c
 *		One HTTP request: what is asked, what is refused, and the body of what is not.
 *
 * Almost everything here runs within libmicrohttpd's frames: it must not throw, so it calls nothing
 * of the server's that could.
 *
 * A request that will be refused is still read to its end, if that is not too far, since
 * a client that is cut off while it sends may never see the answer. Of two reasons for a refusal
 * the first one in the order of begin() counts: an unknown token is told before all others, so that
 * without a token nothing can be learned.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "webhook/webhook.h"

/*
 * So many times the limit of a body is read from a request that is refused, before it is cut off.
 */
#define PATIENCE 4

/* A request that waits longer for its answer has its connection suspended. */
#define LONG_WAIT_US 250000

SlRequestQueue	 sl_queue = {.requests = DLIST_STATIC_INIT(sl_queue.requests)};
SlReceiverStats *sl_my_stats = NULL;

typedef struct Answer
{
	int			status;
	const char *body;
	const char *header; /* besides Content-Type */
	const char *value;
	SlJsonFault fault; /* only for bodies with this one */

	struct MHD_Response *response, *last; /* the second one ends the connection */
} Answer;

static Answer answers[] = {
	{200, "{\"ok\":true}\n"},
	{400, "{\"ok\":false,\"message\":\"the body must be JSON\"}\n"},
	{400, "{\"ok\":false,\"message\":\"the body must be UTF-8\"}\n", .fault = SL_JSON_BAD_UTF8},
	{400, "{\"ok\":false,\"message\":\"the body is nested too deep\"}\n",
	 .fault = SL_JSON_TOO_DEEP},
	{400, "{\"ok\":false,\"message\":\"the body holds too many values\"}\n",
	 .fault = SL_JSON_TOO_MANY},
	{401, "{\"ok\":false,\"message\":\"the secret is missing or wrong\"}\n"},
	{404, "{\"ok\":false,\"message\":\"not found\"}\n"},
	{405, "{\"ok\":false,\"message\":\"only POST\"}\n", "Allow", "POST"},
	{413, "{\"ok\":false,\"message\":\"the body is too long\"}\n"},
	{415, "{\"ok\":false,\"message\":\"only application/json\"}\n"},
	{503, "{\"ok\":false,\"message\":\"try again later\"}\n", "Retry-After", "10"},
};

static struct MHD_Response *
create_response(const Answer *answer)
{
	struct MHD_Response *response = MHD_create_response_from_buffer(
		strlen(answer->body), (void *) answer->body, MHD_RESPMEM_PERSISTENT);

	if (response == NULL)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	MHD_add_response_header(response, "Content-Type", "application/json");
	if (answer->header != NULL)
		MHD_add_response_header(response, answer->header, answer->value);
	return response;
}

void
sl_responses_create(void)
{
	for (int i = 0; i < lengthof(answers); i++)
	{
		Answer *answer = &answers[i];

		if (answer->response == NULL)
			answer->response = create_response(answer);
		if (answer->last != NULL)
			continue;
		answer->last = create_response(answer);
		MHD_add_response_header(answer->last, "Connection", "close");
	}
}

static void
refuse(SlHttpRequest *request, int status, SlRefusal refusal)
{
	request->status = status;
	request->refusal = refusal;
	sl_count(&sl_my_stats->refused[refusal], 1);
}

static void
free_body(SlHttpRequest *request)
{
	sl_queue.bytes -= request->capacity;
	free(request->body);
	request->body = NULL;
	request->length = request->capacity = 0;
}

/* The last part of the path, so that a reverse proxy may lead any path here. */
static const char *
last_part(const char *url, size_t *length)
{
	size_t		end = strlen(url);
	const char *start;

	while (end > 0 && url[end - 1] == '/')
		end--;
	start = url + end;
	while (start > url && start[-1] != '/')
		start--;
	*length = url + end - start;
	return start;
}

static const char *
header(struct MHD_Connection *connection, const char *name)
{
	return MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name);
}

typedef struct LengthHeaders
{
	int	 lengths;
	int	 encodings;
	bool bad;
} LengthHeaders;

static enum MHD_Result
count_length_header(void *state, enum MHD_ValueKind kind, const char *name, const char *value)
{
	LengthHeaders *headers = state;

	if (pg_strcasecmp(name, "Content-Length") == 0)
	{
		headers->lengths++;
		if (value == NULL || *value == '\0' || strspn(value, "0123456789") != strlen(value))
			headers->bad = true;
	}
	else if (pg_strcasecmp(name, "Transfer-Encoding") == 0)
	{
		headers->encodings++;
		if (value == NULL || pg_strcasecmp(value, "chunked") != 0)
			headers->bad = true;
	}
	return MHD_YES;
}

/* Two opinions on where a request ends are how one is smuggled past a proxy. */
static bool
length_is_clear(struct MHD_Connection *connection)
{
	LengthHeaders headers = {0};

	MHD_get_connection_values(connection, MHD_HEADER_KIND, count_length_header, &headers);
	return !headers.bad && headers.lengths + headers.encodings <= 1;
}

static bool
is_json_type(const char *type)
{
	size_t length;

	if (type == NULL)
		return false;
	length = strcspn(type, "; \t");
	if (length == 16 && pg_strncasecmp(type, "application/json", 16) == 0)
		return true;
	return length > 17 && pg_strncasecmp(type, "application/", 12) == 0 &&
		   pg_strncasecmp(type + length - 5, "+json", 5) == 0;
}

/*
 * A request id becomes text in a table, so it must be text in any encoding. One that isn't is
 * ignored, as if it had not come.
 */
static bool
is_printable(const char *text)
{
	for (; *text != '\0'; text++)
		if (*text < ' ' || *text > '~')
			return false;
	return true;
}

static void
copy_header(struct MHD_Connection *connection, const char *name, char *target, size_t size)
{
	const char *value = header(connection, name);

	target[0] = '\0';
	if (value != NULL && strlen(value) < size)
		strlcpy(target, value, size);
}

/* Whatever can be decided before the body. False: the rest isn't worth reading. */
static bool
begin(SlHttpRequest *request, const char *url, const char *method)
{
	struct MHD_Connection *connection = request->connection;
	const char			  *announced = header(connection, "Content-Length");
	size_t				   length;
	const char			  *name = last_part(url, &length);
	bool				   is_get = strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;
	uint64				   limit = (uint64) sl_max_body_size * 1024;
	uint64				   length_told = announced == NULL ? 0 : strtoull(announced, NULL, 10);
	bool				   too_long = length_told > limit;
	bool				   hopeless = length_told / PATIENCE > limit;

	if (!length_is_clear(connection))
	{
		refuse(request, 400, SL_REFUSED_JSON);
		return false;
	}
	if (length == 7 && memcmp(name, "healthz", 7) == 0 && is_get)
	{
		request->is_health_check = true;
		if (too_long)
			refuse(request, 413, SL_REFUSED_SIZE);
		return !hopeless;
	}
	if (!sl_tokens_known() || !sl_token_hash(name, length, request->token_hash))
		refuse(request, 503, SL_REFUSED_BUSY);
	else if (length != SL_TOKEN_LENGTH ||
			 sl_token_find(request->token_hash, request->received_at) == NULL)
		refuse(request, 404, SL_REFUSED_TOKEN);
	else if (strcmp(method, "POST") != 0)
		refuse(request, 405, SL_REFUSED_METHOD);
	else if (!is_json_type(header(connection, "Content-Type")) ||
			 header(connection, "Content-Encoding") != NULL)
		refuse(request, 415, SL_REFUSED_TYPE);
	else if (too_long)
		refuse(request, 413, SL_REFUSED_SIZE);
	else if (sl_queue.bytes >= (size_t) sl_max_queue_size * 1024)
		refuse(request, 503, SL_REFUSED_BUSY);
	copy_header(connection, "X-Request-Id", request->request_id, sizeof(request->request_id));
	if (!is_printable(request->request_id))
		request->request_id[0] = '\0';
	copy_header(connection, "X-Smartlead-Signature", request->signature,
				sizeof(request->signature));
	return !hopeless;
}

/* Room for so many more bytes and a NUL. */
static bool
make_room(SlHttpRequest *request, size_t more)
{
	size_t needed = request->length + more + 1;
	size_t capacity = Max(request->capacity * 2, 2048);
	char  *body;

	if (needed <= request->capacity)
		return true;
	capacity = Max(capacity, needed);
	if (sl_queue.bytes + capacity - request->capacity > (size_t) sl_max_queue_size * 1024)
		return false;
	body = realloc(request->body, capacity);
	if (body == NULL)
		return false;
	sl_queue.bytes += capacity - request->capacity;
	request->body = body;
	request->capacity = capacity;
	return true;
}

/* False: enough of it. */
static bool
take_data(SlHttpRequest *request, const char *data, size_t size)
{
	size_t limit = (size_t) sl_max_body_size * 1024;

	if (request->status == 0 && !request->is_health_check)
	{
		if (!request->is_unfinished)
			sl_queue.unfinished++;
		request->is_unfinished = true;
		sl_queue.taken += size;
		if (request->length + size > limit)
			refuse(request, 413, SL_REFUSED_SIZE);
		else if (!make_room(request, size))
			refuse(request, 503, SL_REFUSED_BUSY);
		else
		{
			memcpy(request->body + request->length, data, size);
			request->length += size;
			request->body[request->length] = '\0';
			return true;
		}
		request->dropped = request->length;
		free_body(request);
	}
	request->dropped += size;
	return request->dropped / PATIENCE <= limit;
}

static void
set_finished(SlHttpRequest *request)
{
	if (request->is_unfinished)
		sl_queue.unfinished--;
	request->is_unfinished = false;
}

/* The HMAC of the body, in hexadecimal digits, with or without "sha256=" before it. */
static bool
is_signed(const SlHttpRequest *request, const SlToken *token)
{
	static const char digits[] = "0123456789abcdef";
	const char		 *given = request->signature;
	unsigned char	  mac[EVP_MAX_MD_SIZE];
	unsigned int	  length = 0;
	char			  expected[2 * SL_HASH_LENGTH];
	char			  lower[2 * SL_HASH_LENGTH];

	if (token->signing_secret == NULL)
		return true;
	if (*given == '\0')
		return !token->signature_required;
	if (strncmp(given, "sha256=", 7) == 0)
		given += 7;
	if (strlen(given) != sizeof(expected))
		return false;
	if (HMAC(EVP_sha256(), token->signing_secret, strlen(token->signing_secret),
			 (const unsigned char *) request->body, request->length, mac, &length) == NULL ||
		length != SL_HASH_LENGTH)
		return false;
	for (int i = 0; i < SL_HASH_LENGTH; i++)
	{
		expected[2 * i] = digits[mac[i] >> 4];
		expected[2 * i + 1] = digits[mac[i] & 0xf];
	}
	for (int i = 0; i < sizeof(lower); i++)
		lower[i] = pg_ascii_tolower((unsigned char) given[i]);
	return sl_same_bytes(expected, lower, sizeof(expected));
}

/* A number that is out of range is for the store, which puts the event aside. */
static bool
is_json(SlHttpRequest *request)
{
	SlJsonCheck check = {0};

	sl_json_guard(request->body, request->length, &check);
	request->fault = check.fault;
	return check.fault == SL_JSON_FINE || check.fault == SL_JSON_NUMBER;
}

/* The request is complete: refuses it, or puts it into the queue until its events are stored. */
static void
finish(SlHttpRequest *request)
{
	const SlToken *token;

	if (request->is_health_check && sl_queue.closed)
	{
		request->status = 503;
		return;
	}
	if (request->is_health_check)
		sl_store_wants_probe = true;
	else
	{
		token = sl_token_find(request->token_hash, request->received_at);
		if (!sl_tokens_known())
			refuse(request, 503, SL_REFUSED_BUSY);
		else if (token == NULL)
			refuse(request, 404, SL_REFUSED_TOKEN);
		else if (request->length == 0 || !is_signed(request, token))
			refuse(request, request->length == 0 ? 400 : 401,
				   request->length == 0 ? SL_REFUSED_JSON : SL_REFUSED_SECRET);
		else if (!is_json(request))
			refuse(request, 400, SL_REFUSED_JSON);
		else if (sl_queue.closed)
			refuse(request, 503, SL_REFUSED_BUSY);
		if (request->status != 0)
			return;
		sl_count(&sl_my_stats->requests, 1);
	}
	request->queued = true;
	dlist_push_tail(&sl_queue.requests, &request->node);
	sl_queue.count++;
	if (request->peer != NULL)
		sl_peer_is_served(request->peer);
}

static bool
waits_long(const SlHttpRequest *request)
{
	return sl_now_us() - request->arrived_us > LONG_WAIT_US;
}

/*
 * libmicrohttpd asks at each run whether a queued request has its answer. Not to be asked, and to
 * be safe from its time limits, a connection can be suspended; but that and its end cost three
 * system calls, more than to be asked once or twice. So only those that wait long are, and none when
 * daemons are about to be stopped, which they can't be with suspended connections.
 */
static void
suspend(SlHttpRequest *request)
{
	if (request->suspended || sl_queue.closed)
		return;
	request->suspended = true;
	MHD_suspend_connection(request->connection);
}

static void
count_answer(int status, int64 latency)
{
	if (status == 200)
	{
		sl_count(&sl_my_stats->answered, 1);
		sl_count(&sl_my_stats->latency_us, latency);
		if (latency > pg_atomic_read_u64(&sl_my_stats->max_latency_us))
			pg_atomic_write_u64(&sl_my_stats->max_latency_us, latency);
	}
	else if (status == 503)
		sl_count(&sl_my_stats->refused[SL_REFUSED_BUSY], 1);
	else if (status == 401)
		sl_count(&sl_my_stats->refused[SL_REFUSED_SECRET], 1);
	else
		sl_count(&sl_my_stats->refused[SL_REFUSED_TOKEN], 1);
}

static void
set_answering(SlHttpRequest *request, bool answering)
{
	if (answering && !request->answering)
		sl_queue.answering++;
	if (!answering && request->answering)
	{
		sl_queue.answering--;
		sl_queue.ended++;
	}
	request->answering = answering;
}

/* Takes a request out of the queue; libmicrohttpd sends the answer in its next runs. */
void
sl_request_answer(SlHttpRequest *request, int status)
{
	dlist_delete(&request->node);
	sl_queue.count--;
	request->queued = false;
	request->status = status;
	free_body(request);
	if (request->connection == NULL)
	{
		free(request);
		return;
	}
	set_answering(request, true);
	if (!request->is_health_check && request->peer != NULL)
		sl_peer_is_answered(request->peer);
	if (!request->is_health_check)
		count_answer(status, sl_now_us() - request->arrived_us);
	if (waits_long(request))
		suspend(request); /* the time limits count from the end of this */
	if (request->suspended)
		MHD_resume_connection(request->connection);
	request->suspended = false;
}

static enum MHD_Result
respond(SlHttpRequest *request)
{
	const Answer *answer = NULL;

	for (int i = 0; i < lengthof(answers); i++)
		if (answers[i].status == request->status &&
			(answers[i].fault == SL_JSON_FINE || answers[i].fault == request->fault))
			answer = &answers[i];
	set_answering(request, true);
	if (answer == NULL)
		return MHD_NO;
	return MHD_queue_response(request->connection, request->status,
							  sl_listener_leaves(request->connection) ? answer->last
																	  : answer->response);
}

enum MHD_Result
sl_request_handle(void *listener, struct MHD_Connection *connection, const char *url,
				  const char *method, const char *version, const char *data, size_t *data_size,
				  void **state)
{
	SlHttpRequest *request = *state;

	if (request == NULL)
	{
		request = calloc(1, sizeof(SlHttpRequest));
		if (request == NULL)
			return MHD_NO;
		*state = request;
		request->connection = connection;
		request->peer = sl_peer_of(connection);
		request->arrived_us = sl_now_us();
		request->received_at = GetCurrentTimestamp();
		return begin(request, url, method) ? MHD_YES : respond(request);
	}
	if (*data_size > 0)
	{
		bool go_on = take_data(request, data, *data_size);

		*data_size = 0;
		return go_on ? MHD_YES : MHD_NO;
	}
	set_finished(request);
	if (request->status == 0 && !request->queued)
		finish(request);
	else if (request->queued && waits_long(request))
		suspend(request);
	return request->queued ? MHD_YES : respond(request);
}

void
sl_request_completed(void *listener, struct MHD_Connection *connection, void **state,
					 enum MHD_RequestTerminationCode why)
{
	SlHttpRequest *request = *state;

	if (request == NULL)
		return;
	*state = NULL;
	set_finished(request);
	set_answering(request, false);
	if (request->peer != NULL && !request->peer->shut)
		sl_peer_waits(request->peer);
	if (request->queued)
	{
		/* The client is gone, but what it sent is here: to store it now saves its next attempt. */
		request->connection = NULL;
		request->peer = NULL;
		return;
	}
	free_body(request);
	free(request);
}
