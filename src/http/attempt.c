/*
 * http/attempt.c
 *		One attempt of a transfer: the libcurl handle, its options, its callbacks, its outcome.
 *
 * The callbacks run inside libcurl, so they must not throw: they use malloc and return codes. The
 * API key enters the URL here and nowhere else, and is struck out of every text that leaves.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include <sys/socket.h>
#include <unistd.h>

#include "storage/fd.h"

#include "http/clock.h"
#include "http/redact.h"
#include "http/transfer.h"
#include "json/json.h"

/* So much later than libcurl's do our own time limits hold. */
#define LIBRARY_GRACE_MS 250

#define USER_AGENT "smartlead-postgresql/" SMARTLEAD_VERSION

static const char *
method_name(SlMethod method)
{
	switch (method)
	{
		case SL_GET:
			return "GET";
		case SL_POST:
			return "POST";
		case SL_PUT:
			return "PUT";
		case SL_PATCH:
			return "PATCH";
		case SL_DELETE:
			return "DELETE";
	}
	return "GET";
}

/* ---- callbacks ---- */

static size_t
on_body(char *data, size_t size, size_t count, void *arg)
{
	SlTransfer *transfer = arg;
	size_t		length = size * count;
	size_t		needed = transfer->body_length + length + 1;

	if (needed > (size_t) sl_max_response_size_kb * 1024)
	{
		transfer->body_too_large = true;
		return 0;
	}
	if (needed > transfer->body_allocated)
	{
		size_t larger = Max(needed, Max(transfer->body_allocated * 2, (size_t) 16 * 1024));
		char  *body = realloc(transfer->body, larger);

		if (body == NULL)
		{
			transfer->out_of_memory = true;
			return 0;
		}
		transfer->body = body;
		transfer->body_allocated = larger;
	}
	memcpy(transfer->body + transfer->body_length, data, length);
	transfer->body_length += length;
	transfer->body[transfer->body_length] = '\0';
	return length;
}

/* A header's value, cut to the buffer, if the line is that header. A line ends without a NUL. */
static bool
read_header(const char *line, size_t length, const char *name, char *value, size_t size)
{
	size_t name_length = strlen(name);

	if (length <= name_length || line[name_length] != ':' ||
		pg_strncasecmp(line, name, name_length) != 0)
		return false;
	length = Min(length - name_length - 1, size - 1);
	memcpy(value, line + name_length + 1, length);
	value[length] = '\0';
	return true;
}

static void
read_number_header(const char *line, size_t length, const char *name, int64 *value)
{
	char digits[24];

	if (read_header(line, length, name, digits, sizeof(digits)))
		*value = strtoll(digits, NULL, 10);
}

/* Seconds, or a date. Not by CURLINFO_RETRY_AFTER, which newer libcurls bound to six hours. */
static void
read_retry_after(const char *line, size_t length, int64 *seconds)
{
	char   value[64];
	char  *end;
	time_t date;

	if (!read_header(line, length, "retry-after", value, sizeof(value)))
		return;
	*seconds = strtoll(value, &end, 10);
	if (end == value && (date = curl_getdate(value, NULL)) != -1)
		*seconds = date - time(NULL);
}

static size_t
on_header(char *line, size_t size, size_t count, void *arg)
{
	SlTransfer *transfer = arg;
	size_t		length = size * count;

	transfer->answered = true;
	read_number_header(line, length, "x-ratelimit-limit", &transfer->rate.limit);
	read_number_header(line, length, "x-ratelimit-remaining", &transfer->rate.remaining);
	read_number_header(line, length, "x-ratelimit-reset", &transfer->rate.reset);
	read_retry_after(line, length, &transfer->retry_after);
	return length;
}

#if SL_CURL_HAS_PREREQFUNCTION
/* The connection stands, the request goes out; once more if libcurl sends it again by itself. */
static int
on_send(void *arg, char *to, char *from, int to_port, int from_port)
{
	SlTransfer *transfer = arg;

	transfer->sent_at = sl_clock_now();
	return CURL_PREREQFUNC_OK;
}
#endif

/* Sockets are counted among the backend's files, so that PostgreSQL leaves room for them. */
static curl_socket_t
on_open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
	curl_socket_t fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);

	if (fd != CURL_SOCKET_BAD)
		ReserveExternalFD();
	return fd;
}

static int
on_close_socket(void *arg, curl_socket_t fd)
{
	ReleaseExternalFD();
	return close(fd);
}

/* ---- setting up ---- */

/* The whole URL; the only place where the key is part of a text. */
static char *
request_url(SlTransfer *transfer)
{
	const SlRequest *request = &transfer->request;
	char			*key = curl_easy_escape(transfer->easy, request->connection->api_key, 0);
	StringInfoData	 url;

	if (key == NULL)
		return NULL;
	initStringInfo(&url);
	appendStringInfo(&url, "%s%s?", request->connection->url[request->host], request->path);
	if (request->query != NULL && request->query[0] != '\0')
		appendStringInfo(&url, "%s&", request->query);
	appendStringInfo(&url, "api_key=%s", key);
	curl_free(key);
	return url.data;
}

static bool
add_header(SlTransfer *transfer, const char *line)
{
	struct curl_slist *longer = curl_slist_append(transfer->headers, line);

	if (longer != NULL)
		transfer->headers = longer;
	return longer != NULL;
}

#define SET(option, value) (ok = ok && curl_easy_setopt(easy, option, value) == CURLE_OK)

static bool
set_request(SlTransfer *transfer)
{
	const SlRequest *request = &transfer->request;
	CURL			*easy = transfer->easy;
	char			*url = request_url(transfer);
	bool			 ok = url != NULL && add_header(transfer, "Accept: application/json");

	SET(CURLOPT_URL, url);
	if (request->method != SL_GET)
	{
		/* libcurl would wait a second for "100 Continue" before it sends a large body. */
		ok = ok && add_header(transfer, "Expect:");
		SET(CURLOPT_CUSTOMREQUEST, method_name(request->method));
	}
	if (request->body != NULL)
	{
		ok = ok && add_header(transfer, "Content-Type: application/json");
		SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t) strlen(request->body));
		SET(CURLOPT_POSTFIELDS, request->body);
	}
	SET(CURLOPT_HTTPHEADER, transfer->headers);

	/*
	 * libcurl silently sends a request again when a kept-alive connection turns out to be dead. That
	 * may repeat a write, so one that must not be repeated gets a connection of its own. So does
	 * what deletes: sent twice, it would come back as "not found".
	 */
	SET(CURLOPT_FRESH_CONNECT, request->repeatable && request->method != SL_DELETE ? 0L : 1L);
	if (url != NULL)
	{
		explicit_bzero(url, strlen(url));
		pfree(url);
	}
	return ok;
}

static bool
set_limits_and_security(SlTransfer *transfer)
{
	const SlConnection *connection = transfer->request.connection;
	CURL			   *easy = transfer->easy;
	bool				ok = true;

	SET(CURLOPT_NOSIGNAL, 1L);
#if SL_CURL_HAS_QUICK_EXIT
	/* Else whatever ends the attempt waits for the end of a name look-up under way, deaf to all. */
	SET(CURLOPT_QUICK_EXIT, 1L);
#endif
	SET(CURLOPT_FOLLOWLOCATION, 0L);
	SET(CURLOPT_SSL_VERIFYPEER, 1L);
	SET(CURLOPT_SSL_VERIFYHOST, 2L);
	SET(CURLOPT_TIMEOUT_MS, (long) connection->timeout_ms);
	SET(CURLOPT_CONNECTTIMEOUT_MS,
		(long) Min(connection->connect_timeout_ms, connection->timeout_ms));
	SET(CURLOPT_HTTP_VERSION, (long) CURL_HTTP_VERSION_2TLS);
#if SL_CURL_HAS_SAFE_PIPEWAIT
	SET(CURLOPT_PIPEWAIT, 1L);
#endif
	SET(CURLOPT_TCP_KEEPALIVE, 1L);
	SET(CURLOPT_ACCEPT_ENCODING, "");
	SET(CURLOPT_USERAGENT, USER_AGENT);
#if SL_CURL_HAS_PROTOCOLS_STR
	SET(CURLOPT_PROTOCOLS_STR, "http,https");
#else
	SET(CURLOPT_PROTOCOLS, (long) (CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
	if (connection->ca_file != NULL)
		SET(CURLOPT_CAINFO, connection->ca_file);
	/* Plain http only goes to this machine; a proxy from the environment would see the key. */
	if (pg_strncasecmp(connection->url[transfer->request.host], "http:", 5) == 0)
		SET(CURLOPT_PROXY, "");
	return ok;
}

static bool
set_callbacks(SlTransfer *transfer)
{
	CURL *easy = transfer->easy;
	bool  ok = true;

	SET(CURLOPT_PRIVATE, transfer);
	SET(CURLOPT_ERRORBUFFER, transfer->error);
	SET(CURLOPT_WRITEFUNCTION, on_body);
	SET(CURLOPT_WRITEDATA, transfer);
	SET(CURLOPT_HEADERFUNCTION, on_header);
	SET(CURLOPT_HEADERDATA, transfer);
	SET(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L); /* a proxy's answer is not the service's */
#if SL_CURL_HAS_PREREQFUNCTION
	SET(CURLOPT_PREREQFUNCTION, on_send);
	SET(CURLOPT_PREREQDATA, transfer);
#endif
	SET(CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
	SET(CURLOPT_CLOSESOCKETFUNCTION, on_close_socket);
	return ok;
}

bool
sl_attempt_prepare(SlTransfer *transfer)
{
	MemoryContext caller = MemoryContextSwitchTo(transfer->context);
	bool		  ok;

	sl_attempt_clear(transfer);
	transfer->error[0] = '\0';
	transfer->sent_at = 0;
	transfer->answered = false;
	transfer->retry_after = -1;
	transfer->rate.limit = transfer->rate.remaining = transfer->rate.reset = -1;
	transfer->easy = curl_easy_init();
	ok = transfer->easy != NULL && set_request(transfer) && set_limits_and_security(transfer) &&
		 set_callbacks(transfer);
	if (!ok)
	{
		transfer->response.outcome = SL_NOT_SENT;
		transfer->response.problem = "There is not enough memory for the request.";
	}
	MemoryContextSwitchTo(caller);
	return ok;
}

/* ---- reading the outcome ---- */

bool
sl_attempt_was_sent(SlTransfer *transfer)
{
#if !SL_CURL_HAS_PREREQFUNCTION
	curl_off_t pretransfer = 0;
	long	   bytes = 0;

	/* Some libraries tell a time for what never went out, but none counts bytes then. */
	curl_easy_getinfo(transfer->easy, CURLINFO_PRETRANSFER_TIME_T, &pretransfer);
	curl_easy_getinfo(transfer->easy, CURLINFO_REQUEST_SIZE, &bytes);
	if (pretransfer > 0 && bytes > 0)
		transfer->sent_at = transfer->granted_at + pretransfer;
#endif
	return transfer->sent_at != 0;
}

/*
 * libcurl keeps the time limits by itself, and knows best what it was about when one was reached. Ours
 * comes a little later, for versions that forget: with some, a request waits for ever.
 */
SlInstant
sl_attempt_deadline(SlTransfer *transfer)
{
	const SlConnection *connection = transfer->request.connection;
	int					limit = connection->timeout_ms;

	if (!sl_attempt_was_sent(transfer))
		limit = Min(limit, connection->connect_timeout_ms);
	return sl_clock_after(transfer->granted_at, (int64) limit + LIBRARY_GRACE_MS);
}

/* In which phase a time limit was hit, in words that tell what to look at. */
static char *
timeout_problem(SlTransfer *transfer)
{
	const SlConnection *connection = transfer->request.connection;
	curl_off_t			resolved = 0, connected = 0;
	const char		   *phase;

	curl_easy_getinfo(transfer->easy, CURLINFO_NAMELOOKUP_TIME_T, &resolved);
	curl_easy_getinfo(transfer->easy, CURLINFO_CONNECT_TIME_T, &connected);
	/* On a connection that is reused there was nothing to look up or to connect. */
	if (transfer->answered)
		phase = "while reading the answer";
	else if (sl_attempt_was_sent(transfer))
		phase = "while waiting for the answer";
	else if (resolved == 0)
		phase = "while looking up the host's name";
	else if (connected == 0)
		phase = "while connecting";
	else
		phase = "in the TLS handshake";
	return psprintf("The time limit was reached %s (connect_timeout is %d ms, timeout is %d ms).",
					phase, connection->connect_timeout_ms, connection->timeout_ms);
}

static SlOutcome
failed_outcome(SlTransfer *transfer, CURLcode code)
{
	switch (code)
	{
		case CURLE_WRITE_ERROR:
			return transfer->body_too_large ? SL_TOO_LARGE : SL_BROKEN;
		case CURLE_OPERATION_TIMEDOUT:
			return sl_attempt_was_sent(transfer) ? SL_TIMED_OUT : SL_NOT_SENT;
		default:
			return sl_attempt_was_sent(transfer) ? SL_BROKEN : SL_NOT_SENT;
	}
}

static const char *
failed_problem(SlTransfer *transfer, CURLcode code)
{
	if (code == CURLE_OPERATION_TIMEDOUT)
		return timeout_problem(transfer);
	if (transfer->body_too_large)
		return psprintf("The answer is larger than smartlead.max_response_size (%d kB).",
						sl_max_response_size_kb);
	if (transfer->out_of_memory)
		return "There is not enough memory for the answer.";
	return psprintf("%s.",
					sl_redact(transfer->request.connection,
							  transfer->error[0] ? transfer->error : curl_easy_strerror(code)));
}

static void
count_attempt(SlTransfer *transfer)
{
	curl_off_t total = 0, received = 0;
	long	   request_size = 0;
	long	   header_size = 0;

	curl_easy_getinfo(transfer->easy, CURLINFO_TOTAL_TIME_T, &total);
	curl_easy_getinfo(transfer->easy, CURLINFO_SIZE_DOWNLOAD_T, &received);
	curl_easy_getinfo(transfer->easy, CURLINFO_REQUEST_SIZE, &request_size);
	curl_easy_getinfo(transfer->easy, CURLINFO_HEADER_SIZE, &header_size);
	transfer->latency_us += total;
	transfer->bytes_received += received + header_size;
	transfer->bytes_sent += request_size;
	sl_rate_done(&transfer->ticket,
				 sl_attempt_was_sent(transfer) ? transfer->sent_at : transfer->granted_at,
				 sl_clock_now());
}

/* More than an hour in a body is believed to be something else: a time, or milliseconds. */
#define MAX_RETRY_AFTER_S 3600

/* The seconds that a refusal's body may tell in place of a header, or -1. */
static int
retry_after_in_body(const SlResponse *response)
{
	const char	*why;
	const cJSON *root = sl_json_parse(response->body, response->body_length, &why);
	int64		 seconds;

	if (!sl_json_bigint(sl_json_member(sl_json_member(root, "error"), "retry_after"), &seconds))
		return -1;
	return seconds > 0 && seconds <= MAX_RETRY_AFTER_S ? (int) seconds : -1;
}

/* Reads what came of the attempt into the response, before libcurl's handle goes. */
void
sl_attempt_read(SlTransfer *transfer, CURLcode code)
{
	MemoryContext caller = MemoryContextSwitchTo(transfer->context);
	SlResponse	 *response = &transfer->response;
	long		  status = 0;

	response->attempts++;
	response->status = 0;
	response->retry_after = -1;
	response->problem = NULL;
	count_attempt(transfer);
	if (code == CURLE_OK)
	{
		curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
		response->outcome = SL_ANSWERED;
		response->status = (int) status;
		response->retry_after =
			transfer->retry_after > 0 ? (int) Min(transfer->retry_after, INT_MAX) : -1;
		response->body = transfer->body != NULL ? transfer->body : "";
		response->body_length = transfer->body_length;
		if (status == 429 && response->retry_after < 0)
			response->retry_after = retry_after_in_body(response);
	}
	else
	{
		response->outcome = failed_outcome(transfer, code);
		response->problem = failed_problem(transfer, code);
		response->body = "";
		response->body_length = 0;
	}
	MemoryContextSwitchTo(caller);
}

/* Forgets the attempt: its handle, its headers, its body. Safe to call at any time. */
void
sl_attempt_clear(SlTransfer *transfer)
{
	if (transfer->easy != NULL)
		curl_easy_cleanup(transfer->easy);
	curl_slist_free_all(transfer->headers);
	free(transfer->body);
	transfer->easy = NULL;
	transfer->headers = NULL;
	transfer->body = NULL;
	transfer->body_length = transfer->body_allocated = 0;
	transfer->body_too_large = transfer->out_of_memory = false;
}
