/*
 * http/clock.h
 *		The clock of all waits and limits: monotonic, the same for all processes, set by nobody.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#ifndef SL_CLOCK_H
#define SL_CLOCK_H

#include "smartlead.h"

#include <time.h>

/* Microseconds since some moment before the server's start. */
typedef int64 SlInstant;

#define SL_INSTANT_NEVER PG_INT64_MAX

static inline SlInstant
sl_clock_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * INT64CONST(1000000) + now.tv_nsec / 1000;
}

static inline SlInstant
sl_clock_after(SlInstant instant, int64 ms)
{
	return instant + ms * 1000;
}

#endif /* SL_CLOCK_H */
