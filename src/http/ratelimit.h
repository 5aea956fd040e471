/*
 * http/ratelimit.h
 *		The requests that one API key may make: sliding windows, shared by the whole cluster.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#ifndef SL_RATELIMIT_H
#define SL_RATELIMIT_H

#include "smartlead.h"

#include "http/clock.h"

#define SL_RATE_MAX_WINDOWS 4
#define SL_RATE_MAX_COUNT 10000
#define SL_KEY_HASH_LENGTH 32

/* At most "count" requests within any "period_ms" milliseconds. */
typedef struct SlRateWindow
{
	int32 count;
	int32 period_ms;
} SlRateWindow;

/* What a connection's rate_limit option says; no windows: no limit. */
typedef struct SlRateLimit
{
	int			 n_windows;
	SlRateWindow window[SL_RATE_MAX_WINDOWS];
} SlRateLimit;

/* Who asks. A waiting session goes before the queue's dispatcher. */
typedef enum SlRatePriority
{
	SL_RATE_INTERACTIVE,
	SL_RATE_BACKGROUND
} SlRatePriority;

/* A granted request, to be told when it was really sent. */
typedef struct SlRateTicket
{
	int	   slot; /* -1: none */
	uint64 sequence;
} SlRateTicket;

/* What an answer's X-RateLimit-* headers said; -1: not there. */
typedef struct SlRateHeaders
{
	int64 limit;
	int64 remaining;
	int64 reset; /* Unix seconds */
} SlRateHeaders;

/* Reads "60/60s, 10/1s" or "none". False, with *why set to a full sentence, if it is neither. */
extern bool sl_rate_parse(const char *text, SlRateLimit *limit, const char **why);

/*
 * Asks for one request now. Returns 0 and fills the ticket, or the milliseconds (at least 1) after
 * which to ask again. Never waits, never throws.
 */
extern long sl_rate_acquire(const uint8 *key_hash, const SlRateLimit *limit,
							SlRatePriority priority, SlRateTicket *ticket);

/* The granted request was sent at "sent" and answered at "answered". */
extern void sl_rate_done(const SlRateTicket *ticket, SlInstant sent, SlInstant answered);

/*
 * The service counts otherwise than we do: learn from what it said in the answer to a request that
 * was sent at "sent". What it says may be as old as that.
 */
extern void sl_rate_learn(const uint8 *key_hash, const SlRateLimit *limit,
						  const SlRateHeaders *headers, SlInstant sent);

/* The service refused (429): nobody may send with this key for so many milliseconds, or an hour. */
extern void sl_rate_block(const uint8 *key_hash, int64 ms);

/* For how many milliseconds the service refuses the key, as far as it said; 0: it doesn't. */
extern int64 sl_rate_blocked(const uint8 *key_hash);

extern Size sl_rate_shmem_size(void);
extern void sl_rate_shmem_startup(void);

#endif /* SL_RATELIMIT_H */
