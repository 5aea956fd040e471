/*
 * webhook/registry.h
 *		The webhooks and tokens of this database, as the functions that make and end them see them.
 *
 * The tables are changed with the rights of their owner, because users have none: who could write
 * them could have events inserted, and triggers run, in anybody's name.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#ifndef SL_REGISTRY_H
#define SL_REGISTRY_H

#include "smartlead.h"

#include "utils/timestamp.h"

/* A webhook's row. Unset texts are NULL, unset numbers 0, arrays (Datum) 0. */
typedef struct SlWebhook
{
	int64		id;
	Oid			subscriber;
	const char *connection;
	const char *level;
	int64		campaign_id;
	int64		client_id;
	const char *name;
	Datum		event_types;
	Datum		categories;
	bool		filtered; /* the categories were chosen, and are not just all that there were */
	int64		remote_id;
	bool		ended;
} SlWebhook;

/* The role that subscribed, or InvalidOid. Whoever asks. */
extern Oid sl_registry_subscriber(int64 id);

/* Inserts the row; the subscriber is the current user. Sets the id. All of these need SPI. */
extern void sl_registry_add(SlWebhook *webhook);

/* Reads a row, which must be the caller's own, or the caller a superuser. Throws if there is none. */
extern void sl_registry_get(int64 id, SlWebhook *webhook);

extern void sl_registry_set_remote_id(int64 id, int64 remote_id);

/* What its requests must prove; NULL: nothing. */
extern void sl_registry_secure(int64 id, const char *secret_key, const char *signing_secret,
							   bool signature_required);

/* Ends it, with all its tokens. False: it had ended already. */
extern bool sl_registry_end(int64 id);

/* A new token of a webhook; those that it has expire at "others_expire", if that isn't infinite. */
extern char *sl_registry_add_token(int64 webhook, TimestampTz others_expire);

/* The URL with a token, under smartlead.public_url. */
extern char *sl_webhook_url(const char *token);

#endif /* SL_REGISTRY_H */
