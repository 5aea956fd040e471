/*
 * limit.c
 *		The rate limit of a key, over all routes, in sliding windows at the request's arrival.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sandbox.h"

#define MAX_WINDOWS 4
#define MAX_KEYS 8
#define HISTORY 16384

static struct
{
	const char *key;
	int64_t		at[HISTORY]; /* arrivals of granted requests, a ring */
	uint64_t	count;
} keys[MAX_KEYS];

void
limits_reset(void)
{
	memset(keys, 0, sizeof(keys));
}

/* "10/2s, 60/60s": false at the end of the text. */
static bool
next_window(const char **text, int64_t *count, int64_t *period_ms)
{
	char unit[4] = "s";
	int	 used = 0;
	long n, period;

	if (sscanf(*text, " %ld/%ld%3[a-z]%n", &n, &period, unit, &used) < 2)
		return false;
	*count = n;
	*period_ms = period * (strcmp(unit, "ms") == 0 ? 1
						   : unit[0] == 'm'		   ? 60000
						   : unit[0] == 'h'		   ? 3600000
												   : 1000);
	*text += used;
	if (**text == ',')
		(*text)++;
	return true;
}

static int
slot_of(const char *key)
{
	int i = 0;

	while (i < MAX_KEYS - 1 && keys[i].key != NULL && keys[i].key != key)
		i++;
	keys[i].key = key;
	return i;
}

/* How many of the key's requests are in the window, and when the oldest of them leaves it. */
static int64_t
count_within(int slot, int64_t now, int64_t period, int64_t *oldest)
{
	int64_t n = 0;

	*oldest = now;
	for (uint64_t i = keys[slot].count; i > 0 && keys[slot].count - i < HISTORY; i--)
	{
		int64_t at = keys[slot].at[(i - 1) % HISTORY];

		if (at <= now - period)
			break;
		*oldest = at;
		n++;
	}
	return n;
}

static void
refuse(Call *call, int64_t wait_ms)
{
	int64_t seconds = (wait_ms + 999) / 1000;
	char	text[256];

	if (switch_on("retry_after"))
		snprintf(call->headers + strlen(call->headers),
				 sizeof(call->headers) - strlen(call->headers), "Retry-After: %ld\n",
				 (long) seconds);
	if (switch_on("rate_body"))
	{
		snprintf(text, sizeof(text),
				 "{\"error\":{\"code\":\"RATE_LIMIT_EXCEEDED\",\"message\":\"Rate limit "
				 "exceeded\",\"retry_after\":%ld}}",
				 (long) seconds);
		reply_text(call, 429, "application/json", text);
	}
	else
		reply_text(call, 429, "application/json", "{\"message\":\"Too many requests\"}");
}

/* The headers tell of the longest window. */
static void
add_headers(Call *call, int64_t limit, int64_t remaining, int64_t reset_ms)
{
	if (switch_on("rate_headers"))
		snprintf(call->headers + strlen(call->headers),
				 sizeof(call->headers) - strlen(call->headers),
				 "X-RateLimit-Limit: %ld\nX-RateLimit-Remaining: %ld\nX-RateLimit-Reset: %ld\n",
				 (long) limit, (long) remaining, (long) ((reset_ms + 999) / 1000));
}

bool
limit_take(Call *call)
{
	const char *text = switch_text("rate_limit");
	int			slot = slot_of(call->workspace->key);
	int64_t		now = now_ms();
	int64_t		limit = 0, longest = 0, remaining = 0, reset = 0, wait = 0;
	int64_t		count, period, oldest;

	while (next_window(&text, &count, &period))
	{
		int64_t used = count_within(slot, now, period, &oldest);

		if (used >= count && oldest + period - now > wait)
			wait = oldest + period - now;
		if (period > longest)
		{
			longest = period;
			limit = count;
			remaining = count - used - 1;
			reset = oldest + period;
		}
	}
	if (longest == 0)
		return true;
	if (wait > 0)
	{
		add_headers(call, limit, remaining < 0 ? 0 : remaining, reset);
		refuse(call, wait);
		return false;
	}
	keys[slot].at[keys[slot].count++ % HISTORY] = now;
	add_headers(call, limit, remaining, reset);
	return true;
}
