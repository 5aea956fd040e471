/*
 * http/retry.c
 *		Whether a transfer is attempted again, and after which wait.
 *
 * A refusal (429) or a connection that never stood means that nothing was done at Smartlead, so
 * everything may be tried again. After anything else the outcome is in doubt, and only a request
 * that may be repeated is.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "http/transfer.h"

#define FIRST_BACKOFF_MS 250
#define FIRST_THROTTLED_BACKOFF_MS 1000
#define MAX_BACKOFF_MS 30000

/* Doubles with each attempt, up to a cap; the upper half of it at random, so that callers spread. */
static long
backoff(int attempts, long first)
{
	long full = first << Min(attempts - 1, 10);

	full = Min(full, MAX_BACKOFF_MS);
	return full / 2 + (long) (sl_random_fraction() * full / 2);
}

/* The service refused for now: everybody with this key waits as long as it says. */
static int64
throttled_delay(SlTransfer *transfer)
{
	const SlResponse *response = &transfer->response;
	int64			  delay = response->retry_after >= 0
								  ? response->retry_after * INT64CONST(1000)
								  : backoff(response->attempts, FIRST_THROTTLED_BACKOFF_MS);

	sl_rate_block(transfer->request.connection->key_hash, delay);
	return delay;
}

static bool
answer_is_transient(const SlTransfer *transfer)
{
	const SlResponse *response = &transfer->response;

	switch (response->status)
	{
		case 500: /* seldom transient, so it is asked again only where that changes nothing */
			return transfer->request.method == SL_GET;
		case 502:
		case 503:
		case 504:
			return transfer->request.repeatable;
		default:
			return transfer->request.rows_expected && response->status / 100 == 2 &&
				   response->body_length == 0;
	}
}

/* What may be well in a second, on the way to a connection: a certificate that is not trusted won't. */
static bool
is_connect_failure(CURLcode code)
{
	switch (code)
	{
		case CURLE_COULDNT_CONNECT:
		case CURLE_COULDNT_RESOLVE_HOST:
		case CURLE_COULDNT_RESOLVE_PROXY:
		case CURLE_OPERATION_TIMEDOUT:
		/* The other side, or what stands between, ended the TLS handshake. */
		case CURLE_SSL_CONNECT_ERROR:
		case CURLE_SEND_ERROR:
		case CURLE_RECV_ERROR:
		case CURLE_GOT_NOTHING:
			return true;
		default:
			return false;
	}
}

static bool
failure_is_transient(const SlTransfer *transfer, CURLcode code)
{
	switch (transfer->response.outcome)
	{
		case SL_NOT_SENT:
			return is_connect_failure(code);
		case SL_BROKEN:
			return transfer->request.repeatable;
		default:
			return false;
	}
}

bool
sl_wait_is_too_long(const SlConnection *connection, const SlResponse *response)
{
	return response->retry_after * INT64CONST(1000) > connection->max_wait_ms;
}

int64
sl_retry_delay(SlTransfer *transfer, CURLcode code)
{
	const SlResponse *response = &transfer->response;
	bool			  answered = response->outcome == SL_ANSWERED;
	bool			  refused = answered && response->status == 429;
	int64			  delay;

	if (refused)
		delay = throttled_delay(transfer);
	else if (!(answered ? answer_is_transient(transfer) : failure_is_transient(transfer, code)))
		return -1;
	else if (response->retry_after >= 0)
		delay = response->retry_after * INT64CONST(1000);
	else
		delay = backoff(response->attempts, FIRST_BACKOFF_MS);
	if (transfer->retries_left <= 0 || sl_wait_is_too_long(transfer->request.connection, response))
		return -1;
	if (!refused && response->outcome != SL_NOT_SENT)
		transfer->response.in_doubt = true;
	return delay;
}
