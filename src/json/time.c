/*
 * json/time.c
 *		Times in texts.
 *
 * The form that Smartlead writes, as JavaScript's toISOString() does, is read here, in a tenth of the
 * time that the server's parser takes; whatever else that knows, it reads.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include <math.h>

#include "utils/datetime.h"
#include "utils/timestamp.h"

#include "json/json.h"

/* From 1970, where Unix counts from, to 2000, where PostgreSQL does. */
#define UNIX_TO_POSTGRES_S ((int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY)

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool
take(const char **text, char c)
{
	bool is_there = **text == c;

	*text += is_there;
	return is_there;
}

/* A number of so many digits. */
static bool
take_number(const char **text, int digits, int *number)
{
	*number = 0;
	for (int i = 0; i < digits; i++)
	{
		if (!is_digit(**text))
			return false;
		*number = *number * 10 + (*(*text)++ - '0');
	}
	return true;
}

/* The microseconds, if there is a fraction. */
static bool
take_fraction(const char **text, int *us)
{
	int unit = USECS_PER_SEC;

	*us = 0;
	if (!take(text, '.'))
		return true;
	for (; unit > 1 && is_digit(**text); (*text)++)
		*us += (**text - '0') * (unit /= 10);
	return unit < USECS_PER_SEC;
}

/* Z, an offset from it in seconds, or neither, which stands for Z. */
static bool
take_zone(const char **text, int *zone)
{
	bool is_west = **text == '-';
	int	 hours, minutes;

	*zone = 0;
	if (**text == '\0' || take(text, 'Z'))
		return true;
	if ((!take(text, '+') && !take(text, '-')) || !take_number(text, 2, &hours) ||
		!take(text, ':') || !take_number(text, 2, &minutes) || hours > MAX_TZDISP_HOUR ||
		minutes >= MINS_PER_HOUR)
		return false;
	*zone = (hours * MINS_PER_HOUR + minutes) * SECS_PER_MINUTE * (is_west ? -1 : 1);
	return true;
}

/* 2026-03-03T09:27:27.234Z, and so on. */
static bool
iso_time(const char *text, TimestampTz *when)
{
	int year, month, day, hour, minute, second, us, zone;

	if (!take_number(&text, 4, &year) || !take(&text, '-') || !take_number(&text, 2, &month) ||
		!take(&text, '-') || !take_number(&text, 2, &day) ||
		(!take(&text, 'T') && !take(&text, ' ')) || !take_number(&text, 2, &hour) ||
		!take(&text, ':') || !take_number(&text, 2, &minute) || !take(&text, ':') ||
		!take_number(&text, 2, &second) || !take_fraction(&text, &us) || !take_zone(&text, &zone) ||
		*text != '\0')
		return false;
	if (year < 1 || month < 1 || month > MONTHS_PER_YEAR || day < 1 ||
		day > day_tab[isleap(year)][month - 1] || hour >= HOURS_PER_DAY ||
		minute >= MINS_PER_HOUR || second >= SECS_PER_MINUTE)
		return false;
	second += (hour * MINS_PER_HOUR + minute) * SECS_PER_MINUTE - zone;
	*when = (date2j(year, month, day) - POSTGRES_EPOCH_JDATE) * USECS_PER_DAY +
			second * USECS_PER_SEC + us;
	return true;
}

bool
sl_json_time(const char *text, TimestampTz *when)
{
	return iso_time(text, when) || sl_parse_timestamptz(text, when);
}

bool
sl_json_unix_time(const char *text, TimestampTz *when)
{
	double number;

	if (text[strspn(text, "0123456789.")] != '\0')
		return false;
	number = strtod(text, NULL);
	if (number < 1e8 || number > 1e17)
		return false;
	if (number > 1e14)
		*when = (int64) number - UNIX_TO_POSTGRES_S * USECS_PER_SEC;
	else if (number > 1e11)
		*when = ((int64) number - UNIX_TO_POSTGRES_S * 1000) * 1000;
	else
		*when = (int64) rint(number * USECS_PER_SEC) - UNIX_TO_POSTGRES_S * USECS_PER_SEC;
	return true;
}
