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

#include "utils/timestamp.h"

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
	return full / 2 + (long) (sl_random_fraction() * (full / 2));
}

/* The service refused for now: everybody with this key waits as long as it says. */
static long
throttled_delay(SlTransfer *transfer)
{
	const SlResponse *response = &transfer->response;
	long			  delay = response->retry_after >= 0
								  ? response->retry_after * 1000L
								  : backoff(response->attempts, FIRST_THROTTLED_BACKOFF_MS);

	sl_rate_block(transfer->request.connection->key_hash,
				  TimestampTzPlusMilliseconds(GetCurrentTimestamp(), delay));
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

/* A certificate that is not trusted won't be in a second either. */
static bool
failure_is_transient(const SlTransfer *transfer, CURLcode code)
{
	switch (transfer->response.outcome)
	{
		case SL_NOT_SENT:
			return code == CURLE_COULDNT_CONNECT || code == CURLE_COULDNT_RESOLVE_HOST ||
				   code == CURLE_COULDNT_RESOLVE_PROXY || code == CURLE_OPERATION_TIMEDOUT;
		case SL_BROKEN:
			return transfer->request.repeatable;
		default:
			return false;
	}
}

long
sl_retry_delay(SlTransfer *transfer, CURLcode code)
{
	const SlResponse *response = &transfer->response;
	bool			  answered = response->outcome == SL_ANSWERED;

	if (answered && response->status == 429)
	{
		long delay = throttled_delay(transfer);

		return transfer->retries_left > 0 ? delay : -1;
	}
	if (transfer->retries_left <= 0 ||
		!(answered ? answer_is_transient(transfer) : failure_is_transient(transfer, code)))
		return -1;
	if (answered || response->outcome == SL_BROKEN)
		transfer->response.in_doubt = true;
	if (response->retry_after >= 0)
		return response->retry_after * 1000L;
	return backoff(response->attempts, FIRST_BACKOFF_MS);
}
