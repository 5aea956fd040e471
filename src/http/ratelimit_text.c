/*
 * http/ratelimit_text.c
 *		Reads the text of a rate_limit option.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include <ctype.h>

#include "http/ratelimit.h"

#define MAX_PERIOD_MS (24 * 60 * 60 * 1000)

typedef struct Unit
{
	const char *name;
	int32		ms;
} Unit;

static const Unit units[] = {
	{"ms", 1},			{"s", 1000},		   {"m", 60 * 1000},
	{"min", 60 * 1000}, {"h", 60 * 60 * 1000}, {"d", MAX_PERIOD_MS},
};

static const char *
skip_space(const char *p)
{
	while (isspace((unsigned char) *p))
		p++;
	return p;
}

/* Digits, up to a number that is too large for whatever it counts here. NULL: no digit. */
static const char *
read_number(const char *p, int64 *number)
{
	if (!isdigit((unsigned char) *p))
		return NULL;
	for (*number = 0; isdigit((unsigned char) *p); p++)
		*number = Min(*number * 10 + (*p - '0'), PG_INT32_MAX);
	return p;
}

/* The letters of a unit, as its length in milliseconds. NULL: no such unit. */
static const char *
read_unit(const char *p, int32 *unit_ms)
{
	size_t length = 0;

	while (isalpha((unsigned char) p[length]))
		length++;
	for (int i = 0; i < lengthof(units); i++)
	{
		if (strlen(units[i].name) == length && pg_strncasecmp(units[i].name, p, length) == 0)
		{
			*unit_ms = units[i].ms;
			return p + length;
		}
	}
	return NULL;
}

/* One "count/period". Returns where it ends, or NULL with *why set. */
static const char *
read_window(const char *p, SlRateWindow *window, const char **why)
{
	int64 count;
	int64 period;
	int32 unit_ms;

	*why = "A rate limit is one or more of count/period, such as \"60/60s, 10/1s\", or \"none\".";
	if ((p = read_number(skip_space(p), &count)) == NULL)
		return NULL;
	p = skip_space(p);
	if (*p++ != '/' || (p = read_number(skip_space(p), &period)) == NULL)
		return NULL;
	if ((p = read_unit(skip_space(p), &unit_ms)) == NULL)
	{
		*why = "The unit of a rate limit's period is one of ms, s, m, min, h, d.";
		return NULL;
	}
	if (count < 1 || count > SL_RATE_MAX_COUNT)
	{
		*why = psprintf("The count of a rate limit is from 1 to %d.", SL_RATE_MAX_COUNT);
		return NULL;
	}
	if (period < 1 || period * unit_ms > MAX_PERIOD_MS)
	{
		*why = "The period of a rate limit is from one millisecond to one day.";
		return NULL;
	}
	window->count = (int32) count;
	window->period_ms = (int32) (period * unit_ms);
	return skip_space(p);
}

bool
sl_rate_parse(const char *text, SlRateLimit *limit, const char **why)
{
	const char *p = skip_space(text);

	memset(limit, 0, sizeof(*limit));
	if (pg_strncasecmp(p, "none", 4) == 0 && *skip_space(p + 4) == '\0')
		return true;

	for (;;)
	{
		if (limit->n_windows == SL_RATE_MAX_WINDOWS)
		{
			*why = psprintf("A rate limit has at most %d windows.", SL_RATE_MAX_WINDOWS);
			return false;
		}
		if ((p = read_window(p, &limit->window[limit->n_windows], why)) == NULL)
			return false;
		limit->n_windows++;
		if (*p == '\0')
			return true;
		if (*p++ != ',')
		{
			*why = "The windows of a rate limit are separated by commas.";
			return false;
		}
	}
}
