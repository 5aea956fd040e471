/*
 * log.c
 *		The requests that came, in their order, for tests to look at.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "sandbox.h"

#define KEPT 262144

typedef struct Entry
{
	char	   *method, *path, *query, *body, *agent, *encoding;
	const char *key_name;
	int			status, in_flight;
	int64_t		connection, at;
} Entry;

static Entry		 entries[KEPT];
static int64_t		 n_entries = 0; /* in all; the last KEPT are kept */
static int64_t		 n_throttled = 0;
static int64_t		 n_connections = 0;
static int			 max_in_flight = 0;
static unsigned char connection_seen[65536 / 8];

static char *
copy(const char *text)
{
	return text != NULL ? strdup(text) : NULL;
}

static void
forget(Entry *entry)
{
	free(entry->method);
	free(entry->path);
	free(entry->query);
	free(entry->body);
	free(entry->agent);
	free(entry->encoding);
	memset(entry, 0, sizeof(*entry));
}

void
log_reset(void)
{
	for (int i = 0; i < KEPT && i < n_entries; i++)
		forget(&entries[i]);
	n_entries = n_throttled = n_connections = 0;
	max_in_flight = 0;
	memset(connection_seen, 0, sizeof(connection_seen));
}

int64_t
log_request(Call *call, int64_t connection, int in_flight, const char *agent, const char *encoding)
{
	Entry	*entry = &entries[n_entries % KEPT];
	unsigned bit = connection % 65536;

	forget(entry);
	entry->method = copy(call->method);
	entry->path = copy(call->logged_path);
	entry->query = copy(call->query);
	entry->body = call->raw_length > 0 && call->raw_length < 65536
					  ? strndup(call->raw_body, call->raw_length)
					  : NULL;
	entry->agent = copy(agent);
	entry->encoding = copy(encoding);
	entry->key_name = call->workspace != NULL ? call->workspace->key_name : NULL;
	entry->connection = connection;
	entry->in_flight = in_flight;
	entry->at = now_ms();
	if (!(connection_seen[bit / 8] & (1 << bit % 8)))
		n_connections++;
	connection_seen[bit / 8] |= 1 << bit % 8;
	if (in_flight > max_in_flight)
		max_in_flight = in_flight;
	return ++n_entries;
}

void
log_status(int64_t number, int status)
{
	if (number > n_entries - KEPT && number > 0 && number <= n_entries)
		entries[(number - 1) % KEPT].status = status;
	if (status == 429)
		n_throttled++;
}

static void
add_text(cJSON *object, const char *name, const char *text)
{
	cJSON_AddItemToObject(object, name,
						  text != NULL ? cJSON_CreateString(text) : cJSON_CreateNull());
}

/* The glob knows no slash at the end, which the log keeps. */
static bool
has_path(const Entry *entry, const char *glob)
{
	size_t length = strlen(entry->path);
	char  *path =
		strndup(entry->path, length > 1 && entry->path[length - 1] == '/' ? length - 1 : length);
	bool has = fnmatch(glob, path, 0) == 0;

	free(path);
	return has;
}

cJSON *
log_dump(int64_t since, const char *path)
{
	cJSON  *list = cJSON_CreateArray();
	int64_t first = n_entries > KEPT ? n_entries - KEPT : 0;

	for (int64_t n = first > since ? first : since; n < n_entries; n++)
	{
		const Entry *entry = &entries[n % KEPT];
		cJSON		*row;

		if (path != NULL && !has_path(entry, path))
			continue;
		row = cJSON_CreateObject();
		cJSON_AddNumberToObject(row, "n", n + 1);
		add_text(row, "method", entry->method);
		add_text(row, "path", entry->path);
		add_text(row, "query", entry->query);
		add_text(row, "key_name", entry->key_name);
		add_text(row, "body", entry->body);
		cJSON_AddNumberToObject(row, "status", entry->status);
		cJSON_AddNumberToObject(row, "connection", entry->connection);
		add_text(row, "user_agent", entry->agent);
		add_text(row, "encoding", entry->encoding);
		cJSON_AddNumberToObject(row, "at", entry->at);
		cJSON_AddNumberToObject(row, "in_flight", entry->in_flight);
		cJSON_AddItemToArray(list, row);
	}
	return list;
}

cJSON *
log_counts(void)
{
	cJSON *counts = cJSON_CreateObject();

	cJSON_AddNumberToObject(counts, "requests", n_entries);
	cJSON_AddNumberToObject(counts, "throttled", n_throttled);
	cJSON_AddNumberToObject(counts, "connections", n_connections);
	cJSON_AddNumberToObject(counts, "max_in_flight", max_in_flight);
	return counts;
}
