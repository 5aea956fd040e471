/*
 * api/found.c
 *		What completions have found out, kept for a short while, so that many calls don't ask the same.
 *
 * Each process has its own: a session, and each worker. Somebody else may change at Smartlead what is
 * kept here, so it is kept for seconds only.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "api/found.h"
#include "http/clock.h"

#define KEPT_FOR_MS 30000
#define MAX_FROM 256
#define MAX_FOUND 320	 /* an address */
#define MAX_ENTRIES 1024 /* then all are forgotten */

typedef struct FoundKey
{
	const SlCompletion *completion;
	Oid					server;
	uint8				key_hash[SL_KEY_HASH_LENGTH];
	char				from[MAX_FROM];
} FoundKey;

typedef struct Found
{
	FoundKey  key;
	SlInstant until;
	char	  found[MAX_FOUND];
} Found;

static HTAB *table = NULL;

/* False: the text is too long to be kept. Names differ in more than case. */
static bool
make_key(FoundKey *key, const SlConnection *connection, const SlCompletion *completion,
		 const char *from)
{
	size_t length = strlen(from);

	memset(key, 0, sizeof(FoundKey));
	key->completion = completion;
	key->server = connection->server;
	memcpy(key->key_hash, connection->key_hash, SL_KEY_HASH_LENGTH);
	if (length >= MAX_FROM)
		return false;
	for (size_t i = 0; i < length; i++)
		key->from[i] = pg_tolower((unsigned char) from[i]);
	return true;
}

static void
create_table(void)
{
	HASHCTL control = {0};

	control.keysize = sizeof(FoundKey);
	control.entrysize = sizeof(Found);
	control.hcxt = TopMemoryContext;
	table = hash_create("smartlead found", 64, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

void
sl_found_keep(const SlConnection *connection, const SlCompletion *completion, const char *from,
			  const char *found)
{
	FoundKey key;
	Found	*entry;

	if (strlen(found) >= MAX_FOUND || !make_key(&key, connection, completion, from))
		return;
	if (table != NULL && hash_get_num_entries(table) >= MAX_ENTRIES)
	{
		hash_destroy(table);
		table = NULL;
	}
	if (table == NULL)
		create_table();
	entry = hash_search(table, &key, HASH_ENTER, NULL);
	entry->until = sl_clock_after(sl_clock_now(), KEPT_FOR_MS);
	strlcpy(entry->found, found, MAX_FOUND);
}

char *
sl_found_recall(const SlConnection *connection, const SlCompletion *completion, const char *from)
{
	FoundKey	 key;
	const Found *entry;

	if (table == NULL || !make_key(&key, connection, completion, from))
		return NULL;
	entry = hash_search(table, &key, HASH_FIND, NULL);
	return entry != NULL && entry->until > sl_clock_now() ? pstrdup(entry->found) : NULL;
}

void
sl_found_forget(const SlConnection *connection, const SlCompletion *completion, const char *from)
{
	FoundKey key;

	if (table != NULL && make_key(&key, connection, completion, from))
		hash_search(table, &key, HASH_REMOVE, NULL);
}
