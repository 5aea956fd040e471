/*
 * webhook/webhook.h
 *		The receiver: from a webhook's HTTP request to a row in smartlead_events.
 *
 * The way of an event: listener.c (sockets, libmicrohttpd) → request.c (one HTTP request: limits,
 * what is refused, the body) → queue → store.c (what is stored together, and what is done when that
 * fails) → batch.c (the transaction) with payload.h (JSON to columns), fingerprint.c (what
 * identifies the event), events/keys.c (each once), insert.c (the row, as the subscriber) and
 * failed.c (what couldn't be stored) → the answer, after the commit. receiver.c is the main loop.
 *
 * Functions of listener.c, request.c and peers.c that libmicrohttpd calls run within its frames:
 * they never throw, and use malloc.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#ifndef SL_WEBHOOK_H
#define SL_WEBHOOK_H

#include "smartlead.h"

#include <microhttpd.h>

#include "lib/ilist.h"
#include "utils/timestamp.h"

#include "events/events.h"
#include "json/json.h"
#include "role/role.h"
#include "worker/worker.h"

#define SL_TOKEN_BYTES 32
#define SL_TOKEN_LENGTH 43 /* of its text: base64url without padding */
#define SL_HASH_LENGTH 32  /* SHA-256 */
#define SL_REQUEST_ID_LENGTH 128

/* Settings (settings.c). Times in milliseconds, sizes in bytes unless told. */
extern int	 sl_receivers;
extern char *sl_listen_address;
extern int	 sl_port;
extern char *sl_public_url;
extern char *sl_tls_certificate_file;
extern char *sl_tls_key_file;
extern int	 sl_trigger_timeout;
extern char *sl_trigger_search_path;
extern int	 sl_event_retention;	 /* minutes */
extern int	 sl_event_key_retention; /* minutes */
extern bool	 sl_notify_events;
extern int	 sl_max_body_size;	 /* kB */
extern int	 sl_max_header_size; /* kB */
extern int	 sl_max_connections;
extern int	 sl_max_connections_per_address;
extern int	 sl_max_queue_size;	 /* kB */
extern int	 sl_idle_timeout;	 /* seconds */
extern int	 sl_request_timeout; /* seconds */
extern int	 sl_max_batch;

/*
 * A client's time limit, which is no shorter than that of two triggers: what a client has sent may
 * lie unread so long, because the receiver is busy with a batch that fails and is done again.
 */
extern int sl_client_timeout(int seconds);

extern void sl_webhook_define_settings(void);

/* Why a request was refused; the order is that of the columns of smartlead_stat_receiver. */
typedef enum SlRefusal
{
	SL_REFUSED_TOKEN,  /* 404 */
	SL_REFUSED_METHOD, /* 405 */
	SL_REFUSED_TYPE,   /* 415 */
	SL_REFUSED_SIZE,   /* 413 */
	SL_REFUSED_JSON,   /* 400 */
	SL_REFUSED_SECRET, /* 401 */
	SL_REFUSED_BUSY,   /* 503: no room, or the database can't commit */
	SL_N_REFUSALS
} SlRefusal;

/* An event of which a receiver had to be ended. */
typedef struct SlStubborn
{
	int64 at; /* of sl_now_us(); 0: there was none */
	uint8 fingerprint[SL_FINGERPRINT_LENGTH];
} SlStubborn;

#define SL_MAX_STUBBORN 8

/* Counters of one receiver, beside its worker slot. Written by the receiver alone. */
typedef struct SlReceiverStats
{
	pg_atomic_uint64 requests; /* to a valid token */
	pg_atomic_uint64 received; /* events in them */
	pg_atomic_uint64 stored;
	pg_atomic_uint64 duplicates;
	pg_atomic_uint64 failed;
	pg_atomic_uint64 refused[SL_N_REFUSALS];
	pg_atomic_uint64 batches;
	pg_atomic_uint64 batched; /* events in committed batches */
	pg_atomic_uint64 largest_batch;
	pg_atomic_uint64 latency_us; /* sum, of requests answered after a commit */
	pg_atomic_uint64 max_latency_us;
	pg_atomic_uint64 answered;
	pg_atomic_uint64 connections;	 /* open now */
	pg_atomic_uint64 evicted;		 /* closed to make room, or for taking too long */
	pg_atomic_uint64 last_stored_at; /* a TimestampTz */
	/* The event whose triggers run, and those whose triggers would not be stopped (limits.c). */
	bool	   running;
	uint8	   fingerprint[SL_FINGERPRINT_LENGTH];
	SlStubborn stubborn[SL_MAX_STUBBORN];
} SlReceiverStats;

extern Size				sl_webhook_shmem_size(void);
extern void				sl_webhook_shmem_startup(void);
extern SlReceiverStats *sl_receiver_stats(int slot);

static inline void
sl_count(pg_atomic_uint64 *counter, uint64 n)
{
	pg_atomic_write_u64(counter, pg_atomic_read_u64(counter) + n);
}

/* A token that is valid now (tokens.c). */
typedef struct SlToken
{
	uint8		hash[SL_HASH_LENGTH]; /* the key */
	int64		webhook;
	Oid			subscriber;
	TimestampTz expires_at;
	char	   *connection;
	char	   *secret_key;		/* that the payload must carry; or NULL */
	char	   *signing_secret; /* of the HMAC in the header; or NULL */
	bool		signature_required;
} SlToken;

/*
 * Brings the tokens up to date when they have changed. Outside a transaction. False: the extension
 * isn't there (any more). While somebody has locked their tables, they aren't known.
 */
extern bool sl_tokens_refresh(void);
extern bool sl_tokens_known(void); /* never throws */

/* The token of that hash if it is valid at that time, or NULL. Never throws. */
extern const SlToken *sl_token_find(const uint8 *hash, TimestampTz now);

/* False: there was no memory for it. Never throws. */
extern bool sl_token_hash(const char *text, size_t length, uint8 *hash);

extern void sl_token_make(char *text, uint8 *hash);
extern bool sl_same_bytes(const void *a, const void *b, size_t length);

/* The kinds of events that Smartlead is known to send. */
typedef enum SlEventKind
{
	SL_UNKNOWN_KIND,
	SL_EMAIL_SENT,
	SL_FIRST_EMAIL_SENT,
	SL_EMAIL_OPEN,
	SL_EMAIL_LINK_CLICK,
	SL_EMAIL_REPLY,
	SL_EMAIL_BOUNCE,
	SL_LEAD_UNSUBSCRIBED,
	SL_LEAD_CATEGORY_UPDATED,
	SL_CAMPAIGN_STATUS_CHANGED,
	SL_UNTRACKED_REPLIES,
	SL_MANUAL_STEP_REACHED,
	SL_EMAIL_ACCOUNT_DISCONNECTED,
	SL_LINKEDIN_DISCONNECTED,
	SL_CAMPAIGN_BOUNCE_THRESHOLD_BREACHED,
	SL_N_KINDS
} SlEventKind;

typedef struct SlNumber
{
	bool  given;
	int64 value;
} SlNumber;

typedef struct SlTime
{
	bool		given;
	TimestampTz value;
} SlTime;

/*
 * An event as columns. Strings are palloc'd in the server's encoding; NULL: the payload has none.
 */
typedef struct SlEvent
{
	char	   *event_type; /* as it came */
	SlEventKind kind;
	const char *kind_name; /* in the spelling of subscriptions; of an unknown one in capitals */
	SlTime		time;	   /* when it happened */
	SlTime		told_time; /* the payload's general time, which may be another one */
	SlNumber	campaign_id, client_id, lead_id, lead_map_id, sequence_number, category_id;
	char *campaign_name, *lead_email, *lead_name, *from_email, *to_email, *subject, *message_id,
		*stats_id, *link, *category, *reply_text;
	bool		has_own_message; /* message_id is that of the event's own e-mail */
	const char *secret_key;
	Jsonb	   *payload; /* without secrets */
} SlEvent;

/* A type in the spelling of subscriptions, an unknown one in capitals. NULL: there is none. */
extern const char *sl_event_kind(const char *event_type, SlEventKind *kind);

/* An event's part of a body, and the secret_key of the event or of what it is wrapped in. */
typedef struct SlPayload
{
	JsonbValue *value;
	const char *secret_key;
} SlPayload;

/*
 * The events in a body: one, or those of an array; what tools wrap around them is taken off. Returns
 * their number.
 */
extern int sl_payload_split(JsonbValue *body, SlPayload **payloads);

/* Reads an event from its payload, from which secrets are taken out. In a transaction. */
extern void sl_payload_read(const SlPayload *payload, SlEvent *event);

/* Takes out of a payload what lets its reader forge events (secrets.c). */
extern void sl_secrets_leave_out(JsonbValue *payload);

/* A palloc'ed copy of a JSON text with that overwritten, of the same length; NULL: there is none. */
extern char *sl_secrets_cover(const char *text, size_t length);

/* What tells an event from others (fingerprint.c has the rule). */
typedef enum SlProof
{
	SL_BY_TIME,	   /* when it happened */
	SL_BY_MESSAGE, /* the Message-ID of its own e-mail */
	SL_BY_CONTENT  /* all that it says, and when it came */
} SlProof;

extern SlProof sl_event_proof(const SlEvent *event);

/* The fingerprint of an event of a connection; of one without proof, that of its first occurrence. */
extern void sl_fingerprint(const SlEvent *event, const char *connection, uint8 *fingerprint);

/* What that is made of, as an object. */
extern Jsonb *sl_fingerprint_parts(const SlEvent *event, const char *connection);

/* The fingerprint of some bytes. */
extern void sl_fingerprint_of(const void *bytes, size_t length, uint8 *fingerprint);

/* From where an event came. */
typedef struct SlSource
{
	TimestampTz received_at;
	const char *connection;
	int64		webhook;
	Oid			role;		/* to insert as */
	const char *request_id; /* or NULL */
} SlSource;

/*
 * What identifies an event here: another fingerprint than sl_fingerprint()'s, if the same has
 * happened before and can't be told by itself. In a transaction and SPI.
 */
extern void sl_event_key(const SlEvent *event, const SlSource *source, SlEventKey *key);

/*
 * Is it a change of state that can't be told by itself? Its fingerprint is made of the keys before
 * it, which must be written.
 */
extern bool sl_is_timeless_change(const SlEvent *event);

/* The row must stay where it is: a value points into it. In a transaction and SPI. */
extern void sl_event_row(const SlEvent *event, const SlSource *source, SlEventRow *row);

/*
 * Stores the events that are not there yet, as a role: keys, rows, notifications and automations.
 * Returns their number without those that a trigger has dropped; *id, if given, is the first one's.
 * "limited": within smartlead.trigger_timeout, as a receiver must. In a transaction and SPI.
 */
extern int sl_events_insert(SlEventRow *rows, int n, Oid role, bool limited, int64 *id);

/*
 * Is it a trigger, a constraint, an automation or the like that runs now, or that has thrown the last
 * error? Set to false by whoever catches that.
 */
extern bool sl_in_users_code;

/* Takes the statement that inserts events out of an error's context. */
extern void sl_events_leave_out_statement(char *context);

/* For a while, no more notifications: a commit has failed for them. */
extern void sl_events_be_silent(void);

/*
 * The limit of time for triggers (limits.c), of the event with that fingerprint, or with NULL of
 * several. To be stopped after an error, too.
 */
extern void sl_limit_start(const uint8 *fingerprint);
extern void sl_limit_stop(void);

/* Had a receiver to be ended lately because of a trigger? Because of one for this very event? */
extern bool sl_limit_was_broken(void);
extern bool sl_limit_was_broken_by(const uint8 *fingerprint);

/* One HTTP request. Malloc'd; lives as long as libmicrohttpd serves it, or it is queued. */
typedef struct SlHttpRequest
{
	dlist_node			   node;	   /* in the queue */
	struct MHD_Connection *connection; /* NULL: the client is gone */
	struct SlPeer		  *peer;
	int					   status; /* of the answer; 0: not decided yet */
	SlRefusal			   refusal;
	SlJsonFault			   fault; /* of the body */
	bool				   is_health_check;
	bool				   is_unfinished; /* a part of the body is here */
	bool				   queued;
	bool				   answering; /* the answer is on its way */
	bool				   suspended;
	uint8				   token_hash[SL_HASH_LENGTH];
	int64				   arrived_us;
	TimestampTz			   received_at;
	char				  *body;
	size_t				   length;
	size_t				   capacity;
	size_t				   dropped; /* bytes read and thrown away */
	char				   request_id[SL_REQUEST_ID_LENGTH + 1];
	char				   signature[80];
} SlHttpRequest;

/* The requests whose bodies are complete, in the order of their arrival. */
typedef struct SlRequestQueue
{
	dlist_head requests;
	int		   count;
	size_t	   bytes;	   /* of all bodies in memory, incomplete ones too */
	int		   unfinished; /* requests of whose bodies only a part is here */
	uint64	   taken;	   /* bytes of bodies, ever */
	int		   answering;  /* requests whose answers are on their way */
	uint64	   ended;	   /* of those, ever */
	bool	   closed;	   /* all daemons are about to be stopped: come again later */
} SlRequestQueue;

extern SlRequestQueue sl_queue;

/* Called by libmicrohttpd (request.c). */
extern enum MHD_Result sl_request_handle(void *listener, struct MHD_Connection *connection,
										 const char *url, const char *method, const char *version,
										 const char *data, size_t *data_size, void **state);
extern void sl_request_completed(void *listener, struct MHD_Connection *connection, void **state,
								 enum MHD_RequestTerminationCode why);

extern SlReceiverStats *sl_my_stats; /* of this receiver */
extern void				sl_request_answer(SlHttpRequest *request, int status);
extern void				sl_responses_create(void);

/* One client's connection (peers.c). */
typedef struct SlPeer
{
	dlist_node node; /* in the list of those that we wait for, the longest waiting first */
	int		   socket;
	int64	   since_us; /* waited for since then */
	bool	   listed;
	bool	   shut;
	uint64	   answered_in; /* the batch that held its last event, until it is back; or 0 */
} SlPeer;

extern void	   sl_peer_notify(void *listener, struct MHD_Connection *connection, void **state,
							  enum MHD_ConnectionNotificationCode what);
extern SlPeer *sl_peer_of(struct MHD_Connection *connection);
extern void	   sl_peer_waits(SlPeer *peer);		/* from now on we wait for its bytes */
extern void	   sl_peer_is_served(SlPeer *peer); /* from now on it waits for us */

/* How many of those whose events the present batch answered have neither come back nor gone? */
extern void sl_peers_begin_batch(void);
extern void sl_peer_is_answered(SlPeer *peer);
extern int	sl_peers_awaited(void);

/* Closes those that take too long. Milliseconds until the next one is due, or -1. */
extern long sl_peers_sweep(void);

/* The listening side (listener.c). */
extern bool
sl_listener_update(SlWorkerSlot *slot); /* opens, or opens anew after settings changed */
extern void sl_listener_stop(void);
extern int	sl_listener_descriptors(int **descriptors); /* to wait for, palloc'd; their number */
extern int	sl_listener_generation(void); /* another one: the descriptors are others, too */
extern void sl_listener_clear(void);	  /* what former settings have left, and nobody uses */
extern bool sl_listener_leaves(struct MHD_Connection *connection); /* of former settings? */
extern long sl_listener_timeout(void);							   /* milliseconds, or -1 */
extern void sl_listener_run(void);

/* Can the receiver commit? Finds out, but no more than once a second. Outside a transaction. */
extern bool sl_store_probe(void);
extern bool sl_store_wants_probe; /* a health check is in the queue */

/*
 * Stores a batch from the queue's beginning and decides their answers. Answers health checks as
 * well. Never throws.
 */
extern void sl_store_batch(void);

/* Writes an event that can't be stored into smartlead_failed_events. In a transaction. */
extern void sl_failed_record(const SlSource *source, const char *event_type, Jsonb *payload,
							 const char *body, size_t length, const ErrorData *error);

/* What the receiver can't do as it should, for smartlead_workers (receiver.c). */
typedef enum SlTrouble
{
	SL_TROUBLE_LISTENER,
	SL_TROUBLE_TABLE,
	SL_TROUBLE_NOTIFY,
	SL_N_TROUBLES
} SlTrouble;

/* NULL: all is well again. In other processes than a receiver, nothing happens. */
extern void sl_receiver_trouble(SlTrouble what, const char *text);
extern void sl_receiver_listens(SlWorkerState state, const char *trouble);

extern int64 sl_now_us(void); /* a clock that only goes forward */

extern PGDLLEXPORT void sl_receiver_main(Datum argument);

#endif /* SL_WEBHOOK_H */
