/*
 * stats/stats.h
 *		Counters of the requests made, per connection and endpoint, in shared memory.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#ifndef SL_STATS_H
#define SL_STATS_H

#include "smartlead.h"

/* One finished call to Smartlead, retries included. Times in microseconds, sizes in bytes. */
typedef struct SlRequestStats
{
	Oid			server;	  /* the foreign server */
	const char *endpoint; /* its name in the endpoint table, or "request" */
	bool		failed;
	int			retries;
	bool		throttled; /* waited for the rate limit, ours or Smartlead's */
	int64		throttled_us;
	int64		bytes_sent;
	int64		bytes_received;
	int64		latency_us; /* of the attempts themselves, without the waits between them */
} SlRequestStats;

/* Never throws, never waits for more than a spinlock. */
extern void sl_stats_count_request(const SlRequestStats *stats);

extern Size sl_stats_shmem_size(void);
extern void sl_stats_shmem_startup(void);

#endif /* SL_STATS_H */
