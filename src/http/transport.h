/*
 * http/transport.h
 *		HTTP requests by libcurl's multi interface: many at once, interruptible, retried, rate-limited.
 *
 * A transfer is one call to Smartlead with all its attempts. Start as many as you like, then wait
 * for the one that you need next; all of them make progress meanwhile. A transfer belongs to the
 * memory context that was current when it was started: deleting the context, on success or by an
 * error, gives back its curl handle and its buffers.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#ifndef SL_TRANSPORT_H
#define SL_TRANSPORT_H

#include "smartlead.h"

#include "connection/connection.h"
#include "http/ratelimit.h"

typedef enum SlMethod
{
	SL_GET,
	SL_POST,
	SL_PUT,
	SL_PATCH,
	SL_DELETE
} SlMethod;

/* What to ask. All text is UTF-8 and must live until the transfer is done. */
typedef struct SlRequest
{
	const SlConnection *connection;
	const char		   *endpoint; /* name for statistics and messages */
	SlHost				host;
	SlMethod			method;
	const char		   *path;		/* below the host's URL, begins with a slash, percent-encoded */
	const char		   *query;		/* "a=1&b=2", percent-encoded, or NULL; never the key */
	const char		   *body;		/* JSON, or NULL */
	bool				repeatable; /* may be sent again when the outcome is in doubt */
	bool				rows_expected; /* an empty 2xx body is retried */
	bool				id_expected;   /* a 2xx without the id of what was made leaves doubt */
	SlRatePriority		priority;
} SlRequest;

typedef enum SlOutcome
{
	SL_PENDING,	  /* waits for the limiter, for a retry, or is under way */
	SL_ANSWERED,  /* status and body are there, whatever the status */
	SL_NOT_SENT,  /* failed before the request can have been processed */
	SL_HELD_BACK, /* not sent: the service refuses the key for longer than the connection waits */
	SL_TIMED_OUT,
	SL_TOO_LARGE,
	SL_BROKEN /* the connection failed when the request may have been processed */
} SlOutcome;

/* What came of it. Strings live as long as the transfer. */
typedef struct SlResponse
{
	SlOutcome	outcome;
	int			status;
	char	   *body; /* NUL-terminated; may hold anything */
	size_t		body_length;
	const char *problem;	 /* for a failed transfer: a sentence, without the key */
	int			retry_after; /* seconds, with a last 429 or 503, or held back; or -1 */
	int			attempts;
	bool		in_doubt; /* an attempt before the last may have been processed */
} SlResponse;

typedef struct SlTransfer SlTransfer;

extern SlTransfer *sl_transfer_start(const SlRequest *request);

/* Did the service ask to wait for longer than the connection does, so that it wasn't asked again? */
extern bool sl_wait_is_too_long(const SlConnection *connection, const SlResponse *response);

/* Waits, interruptibly, until the transfer is done. Throws only for interrupts. */
extern const SlResponse *sl_transfer_wait(SlTransfer *transfer);

/* The answer if it is there already, else NULL. */
extern const SlResponse *sl_transfer_poll(SlTransfer *transfer);

/* Does it still wait for the limiter's leave, so that giving it up now leaves no trace? */
extern bool sl_transfer_is_waiting(const SlTransfer *transfer);

/* Gives everything back now; no request of it goes on. */
extern void sl_transfer_free(SlTransfer *transfer);

/*
 * Drives all transfers until one of them ends, the latch is set, or the time is over (-1: none).
 * For callers with a loop of their own; they check interrupts after it. True: the latch was set.
 */
extern bool sl_transport_wait(long timeout_ms, uint32 wait_event);

/* Starts with what can be started, without waiting: transfers wait for nobody to be driven. */
extern void sl_transport_run(void);

extern void sl_transport_define_settings(void);

#endif /* SL_TRANSPORT_H */
