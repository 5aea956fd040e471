/*
 * connection/connection.h
 *		From a foreign server and a user mapping to a connection that requests can use.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#ifndef SL_CONNECTION_H
#define SL_CONNECTION_H

#include "smartlead.h"

#include "http/ratelimit.h"

#define SL_DEFAULT_BASE_URL "https://server.smartlead.ai/api/v1"

/* The services of Smartlead, each at an address of its own. One key is for all. */
typedef enum SlHost
{
	SL_CORE,
	SL_SMART_DELIVERY,
	SL_SMART_SENDERS,
	SL_SMART_PROSPECT,
	SL_SMART_SERVERS,
	SL_N_HOSTS
} SlHost;

/* One Smartlead workspace as one user may use it. */
typedef struct SlConnection
{
	Oid			server;				/* the foreign server ... */
	Oid			user;				/* ... and whose mapping gave the key */
	char	   *name;				/* the server's name: "sales" */
	char	   *url[SL_N_HOSTS];	/* without a slash at its end; NULL: the key may not go there */
	char	   *api_key;			/* never in a message, never in a log */
	char	   *ca_file;			/* or NULL: the system's */
	int			timeout_ms;			/* of one request, from its sending on */
	int			connect_timeout_ms; /* of that, for connecting */
	int			max_wait_ms;		/* how long the service may make a session wait at once */
	int			max_retries;
	int			fetch_concurrency; /* pages under way at once in a listing */
	SlRateLimit rate_limit;
	uint8		key_hash[SL_KEY_HASH_LENGTH]; /* SHA-256 of the key: the limiter's name for it */
} SlConnection;

/*
 * The connection called "name" or, when that is NULL, the setting smartlead.connection or else the
 * only server on which the user has a mapping of its own, or else the only one that it may use; servers
 * that other ordinary roles own are left out of account there. Palloc'd in the current context. Throws when there is none,
 * when the user lacks USAGE on the server, or when no user mapping gives an API key.
 */
extern SlConnection *sl_connection_resolve(const char *name, Oid user);

/* Has the user USAGE on the connection of that name? A superuser has, whether it exists or not. */
extern bool sl_connection_is_usable(const char *name, Oid user);

/* The option of the server that holds the address: "base_url", "smart_senders_url". */
extern const char *sl_connection_url_option(SlHost host);

extern void sl_connection_define_settings(void);

#endif /* SL_CONNECTION_H */
