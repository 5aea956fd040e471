/*
 * http/transfer.h
 *		The inside of a transfer, for the files of this room alone.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#ifndef SL_TRANSFER_H
#define SL_TRANSFER_H

#include "smartlead.h"

#include "lib/ilist.h"

#include <curl/curl.h>

#include "http/clock.h"
#include "http/transport.h"

typedef enum SlTransferState
{
	SL_WAITING, /* until wake_at: for the limiter's leave, or before another attempt */
	SL_RUNNING, /* an attempt is with libcurl */
	SL_DONE
} SlTransferState;

struct SlTransfer
{
	dlist_node			  node;	   /* in the list of all transfers that are not done */
	MemoryContext		  context; /* holds the transfer and all its palloc'd strings */
	MemoryContextCallback cleanup;
	SlRequest			  request;
	SlResponse			  response;
	SlTransferState		  state;
	SlInstant			  wake_at;
	int					  retries_left;

	/* The attempt under way; libcurl's and ours, in malloc's memory. */
	CURL			  *easy;
	struct curl_slist *headers;
	char			   error[CURL_ERROR_SIZE];
	char			  *body;
	size_t			   body_length;
	size_t			   body_allocated;
	bool			   body_too_large;
	bool			   out_of_memory;
	SlRateHeaders	   rate;
	int64			   retry_after; /* seconds, from the header; -1: not there */
	SlRateTicket	   ticket;
	SlInstant		   granted_at;
	SlInstant		   sent_at;	 /* 0: not yet; sl_attempt_was_sent() knows for all libraries */
	bool			   answered; /* a part of the answer has come */

	/* For the statistics. */
	SlInstant throttled_since; /* 0: not waiting for the limiter */
	int64	  throttled_us;
	int64	  latency_us;
	int64	  bytes_sent;
	int64	  bytes_received;
};

/* attempt.c: one attempt as a libcurl handle. False, with the response's problem set: can't be. */
extern bool sl_attempt_prepare(SlTransfer *transfer);

/* Has the request gone out, so that the service may have processed it? */
extern bool sl_attempt_was_sent(SlTransfer *transfer);

/* When the attempt under way has taken longer than it may. */
extern SlInstant sl_attempt_deadline(SlTransfer *transfer);

extern void sl_attempt_read(SlTransfer *transfer, CURLcode code);
extern void sl_attempt_clear(SlTransfer *transfer);

/* retry.c: the wait in milliseconds before another attempt, or -1 when there shall be none. */
extern int64 sl_retry_delay(SlTransfer *transfer, CURLcode code);

/* transport.c: smartlead.max_response_size */
extern int sl_max_response_size_kb;

#endif /* SL_TRANSFER_H */
