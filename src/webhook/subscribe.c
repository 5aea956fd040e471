/*
 * webhook/subscribe.c
 *		Webhooks at Smartlead: made with a token of ours, given a new one, and removed.
 *
 * Each function first changes our tables and then asks Smartlead, so that an error of Smartlead's
 * undoes what was changed here. The other way round it can't be: when the transaction is rolled
 * back after Smartlead has agreed, a webhook stays there whose token nobody knows; it is answered 404
 * until Smartlead gives up.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "api/call.h"
#include "connection/connection.h"
#include "webhook/registry.h"
#include "webhook/webhook.h"

PG_FUNCTION_INFO_V1(smartlead_subscribe);
PG_FUNCTION_INFO_V1(smartlead_rotate_webhook);
PG_FUNCTION_INFO_V1(smartlead_unsubscribe_webhook);

static SlArguments *
call_of(const char *name, const char *path_part)
{
	for (const SlEndpoint *endpoint = sl_endpoints; endpoint->name != NULL; endpoint++)
		if (strcmp(endpoint->name, name) == 0 &&
			(path_part == NULL || strstr(endpoint->path, path_part) != NULL))
			return sl_arguments(endpoint);
	elog(ERROR, "there is no endpoint \"%s\"", name);
}

static void
set_list(SlArguments *arguments, const char *name, Datum list)
{
	sl_arguments_set(arguments, sl_endpoint_param(arguments->endpoint, name), list, TEXTARRAYOID);
}

static int
list_elements(Datum list, Datum **elements)
{
	bool *nulls;
	int	  n;

	deconstruct_array(DatumGetArrayTypeP(list), TEXTOID, -1, false, TYPALIGN_INT, elements, &nulls,
					  &n);
	for (int i = 0; i < n; i++)
		if (nulls[i])
			ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
							errmsg("a list for Smartlead must not hold NULL")));
	return n;
}

/* An empty list is refused by Smartlead, while without any it takes the webhook. */
static void
set_categories(SlArguments *arguments, Datum list)
{
	Datum *elements;

	if (list != (Datum) 0 && list_elements(list, &elements) > 0)
		set_list(arguments, "categories", list);
}

/* Event types in the spelling that Smartlead subscribes to. */
static Datum
canonical_types(Datum list)
{
	Datum *types;
	int	   n = list_elements(list, &types);

	if (n == 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("there is no event to subscribe to")));
	for (int i = 0; i < n; i++)
	{
		SlEventKind kind;
		const char *name = sl_event_kind(TextDatumGetCString(types[i]), &kind);

		if (name == NULL)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("a type of event must not be empty")));
		types[i] = CStringGetTextDatum(name);
	}
	return PointerGetDatum(construct_array(types, n, TEXTOID, -1, false, TYPALIGN_INT));
}

/* The workspace's categories, since Smartlead wants to be told which. */
static const cJSON *
fetch_categories(const SlConnection *connection)
{
	return sl_answer_rows(sl_call(connection, call_of("list_lead_categories", NULL)));
}

static Datum
names_of_categories(const cJSON *categories)
{
	Datum		*names = palloc(sizeof(Datum) * (cJSON_GetArraySize(categories) + 1));
	int			 n = 0;
	const cJSON *category;

	cJSON_ArrayForEach (category, categories)
	{
		const cJSON *name = sl_json_member(category, "name");

		if (cJSON_IsString(name))
			names[n++] = CStringGetTextDatum(sl_json_scalar_text(name));
	}
	return PointerGetDatum(construct_array(names, n, TEXTOID, -1, false, TYPALIGN_INT));
}

/* {"EMAIL_SENT": true, …} */
static Datum
map_of(char **names, int n)
{
	StringInfoData json;

	initStringInfo(&json);
	appendStringInfoChar(&json, '{');
	for (int i = 0; i < n; i++)
	{
		if (i > 0)
			appendStringInfoChar(&json, ',');
		escape_json(&json, names[i]);
		appendStringInfoString(&json, ":true");
	}
	appendStringInfoChar(&json, '}');
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(json.data));
}

static Datum
map_of_types(Datum list)
{
	Datum *types;
	int	   n = list_elements(list, &types);
	char **names = palloc(sizeof(char *) * n);

	for (int i = 0; i < n; i++)
		names[i] = TextDatumGetCString(types[i]);
	return map_of(names, n);
}

/* {"5": true, …}: the ids of the categories with those names. */
static Datum
map_of_categories(const cJSON *categories, Datum wanted)
{
	Datum *names;
	int	   n_wanted = list_elements(wanted, &names), n = 0;
	char **ids = palloc(sizeof(char *) * Max(n_wanted, 1));

	for (int i = 0; i < n_wanted; i++)
	{
		char		*name = TextDatumGetCString(names[i]);
		const cJSON *category;
		bool		 found = false;

		cJSON_ArrayForEach (category, categories)
		{
			const cJSON *its_name = sl_json_member(category, "name");
			int64		 id;

			if (found || !cJSON_IsString(its_name) ||
				strcmp(sl_json_scalar_text(its_name), name) != 0 ||
				!sl_json_bigint(sl_json_member(category, "id"), &id))
				continue;
			ids[n++] = psprintf(INT64_FORMAT, id);
			found = true;
		}
		if (!found)
			ereport(ERROR, (errcode(SL_ERRCODE_NOT_FOUND),
							errmsg("there is no lead category \"%s\"", name),
							errhint("See smartlead_list_lead_categories().")));
	}
	return map_of(ids, n);
}

/* The last part of a URL is the token, if the webhook is one of ours. */
static bool
has_token(const char *url, const char *token)
{
	size_t length = url == NULL ? 0 : strlen(url);

	return length >= SL_TOKEN_LENGTH && strcmp(url + length - SL_TOKEN_LENGTH, token) == 0;
}

/* It may be there, or not: whoever subscribes again may have two. */
pg_noreturn static void
raise_unknown_outcome(const char *endpoint)
{
	SlRequest request = {.endpoint = endpoint};

	sl_problem_raise(
		sl_problem_unknown_outcome(&request, pstrdup("The answer holds no id of what was made.")));
}

/* Not every answer to a registration tells the new webhook's id; the listing does. 0: it is not listed. */
static int64
look_up_remote_id(const SlConnection *connection, int64 campaign_id, const char *token)
{
	SlArguments *list = call_of("list_webhooks", NULL);
	SlAnswer	*answer;
	const cJSON *row;
	int64		 id;

	sl_arguments_set_bigint(list, "campaign_id", campaign_id);
	answer = sl_call_try(connection, list);
	if (answer->problem != NULL)
		return 0;
	cJSON_ArrayForEach (row, sl_answer_rows(answer))
	{
		const cJSON *url = sl_json_member(row, "webhook_url");

		if (cJSON_IsString(url) && has_token(url->valuestring, token) &&
			sl_json_bigint(sl_json_member(row, "id"), &id))
			return id;
	}
	return 0;
}

static int64
register_at_campaign(const SlConnection *connection, SlWebhook *webhook, const char *token)
{
	SlArguments *create = call_of("create_campaign_webhook", NULL);
	SlAnswer	*answer;
	int64		 id;

	sl_arguments_set_bigint(create, "campaign_id", webhook->campaign_id);
	sl_arguments_set_text(create, "name", webhook->name);
	sl_arguments_set_text(create, "webhook_url", sl_webhook_url(token));
	set_list(create, "event_types", webhook->event_types);
	set_categories(create, webhook->categories);
	answer = sl_call(connection, create);
	if (sl_json_bigint(sl_json_member(sl_answer_object(answer), "id"), &id))
		return id;
	id = look_up_remote_id(connection, webhook->campaign_id, token);
	if (id == 0)
		raise_unknown_outcome(create->endpoint->name);
	return id;
}

static int64
register_above(const SlConnection *connection, SlWebhook *webhook, const cJSON *categories,
			   const char *token)
{
	SlArguments *create = call_of("create_webhook", NULL);
	Datum		*elements;
	int64		 id;

	ereport(NOTICE,
			(errmsg("a webhook at %s level takes its events away from those at the levels below",
					webhook->level),
			 errdetail("For an event that is subscribed to at several levels, Smartlead calls the "
					   "highest one: user before client before campaign.")));
	sl_arguments_set_text(create, "name", webhook->name);
	sl_arguments_set_text(create, "webhook_url", sl_webhook_url(token));
	sl_arguments_set_text(create, "association_type", webhook->level);
	if (webhook->client_id != 0)
		sl_arguments_set_bigint(create, "client_id", webhook->client_id);
	sl_arguments_set(create, sl_endpoint_param(create->endpoint, "event_type_map"),
					 map_of_types(webhook->event_types), JSONBOID);
	if (list_elements(webhook->categories, &elements) > 0)
		sl_arguments_set(create, sl_endpoint_param(create->endpoint, "category_id_map"),
						 map_of_categories(categories, webhook->categories), JSONBOID);
	if (!sl_json_bigint(sl_json_member(sl_answer_object(sl_call(connection, create)), "id"), &id))
		raise_unknown_outcome(create->endpoint->name);
	return id;
}

/* From the ids that are given, unless it is named. */
static const char *
choose_level(const SlWebhook *webhook, const char *named)
{
	if (named == NULL && webhook->campaign_id != 0)
		named = "campaign";
	else if (named == NULL && webhook->client_id != 0)
		named = "client";
	if (named == NULL || (strcmp(named, "campaign") == 0 && webhook->campaign_id == 0) ||
		(strcmp(named, "client") == 0 && webhook->client_id == 0))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("it isn't said whose events to subscribe to"),
						errhint("Give a campaign_id, a client_id, or level => 'user' for all of "
								"the workspace.")));
	if (strcmp(named, "campaign") != 0 && strcmp(named, "client") != 0 &&
		strcmp(named, "user") != 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("there is no level \"%s\"", named),
						errhint("The levels are campaign, client and user.")));
	return named;
}

static void
subscribe(const SlConnection *connection, SlWebhook *webhook)
{
	const cJSON *categories;
	bool		 at_campaign = strcmp(webhook->level, "campaign") == 0;
	char		*token;

	webhook->connection = connection->name;
	categories =
		webhook->categories == (Datum) 0 || !at_campaign ? fetch_categories(connection) : NULL;
	if (webhook->categories == (Datum) 0)
		webhook->categories = names_of_categories(categories);
	sl_registry_add(webhook);
	token = sl_registry_add_token(webhook->id, DT_NOEND);
	sl_registry_set_remote_id(webhook->id,
							  at_campaign ? register_at_campaign(connection, webhook, token)
										  : register_above(connection, webhook, categories, token));
}

/*
 * smartlead_subscribe(campaign_id bigint, events text[], categories text[], client_id bigint,
 *					   level text, name text, connection name) → bigint: the webhook's id here
 */
Datum
smartlead_subscribe(PG_FUNCTION_ARGS)
{
	const char *connection = PG_ARGISNULL(6) ? NULL : NameStr(*PG_GETARG_NAME(6));
	SlWebhook	webhook = {0};

	PreventCommandIfReadOnly("smartlead_subscribe()");
	if (PG_ARGISNULL(1))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("argument \"events\" must not be null")));
	webhook.campaign_id = PG_ARGISNULL(0) ? 0 : PG_GETARG_INT64(0);
	webhook.event_types = canonical_types(PG_GETARG_DATUM(1));
	webhook.categories = PG_ARGISNULL(2) ? (Datum) 0 : PG_GETARG_DATUM(2);
	webhook.filtered = webhook.categories != (Datum) 0;
	webhook.client_id = PG_ARGISNULL(3) ? 0 : PG_GETARG_INT64(3);
	webhook.level =
		choose_level(&webhook, PG_ARGISNULL(4) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(4)));
	webhook.name = PG_ARGISNULL(5) ? "PostgreSQL" : text_to_cstring(PG_GETARG_TEXT_PP(5));
	SPI_connect();
	sl_events_create();
	subscribe(sl_connection_resolve(connection, GetUserId()), &webhook);
	SPI_finish();
	PG_RETURN_INT64(webhook.id);
}

static void
change_url(const SlWebhook *webhook, const char *url)
{
	bool		 at_campaign = strcmp(webhook->level, "campaign") == 0;
	SlArguments *update = call_of(at_campaign ? "update_campaign_webhook" : "update_webhook", NULL);

	if (at_campaign)
		sl_arguments_set_bigint(update, "campaign_id", webhook->campaign_id);
	sl_arguments_set_bigint(update, at_campaign ? "id" : "webhook_id", webhook->remote_id);
	sl_arguments_set_text(update, "name", webhook->name);
	sl_arguments_set_text(update, "webhook_url", url);
	set_list(update, "event_types", webhook->event_types);
	set_categories(update, webhook->categories);
	sl_call(sl_connection_resolve(webhook->connection, GetUserId()), update);
}

/*
 * smartlead_rotate_webhook(webhook bigint, overlap interval) → text: the new URL
 */
Datum
smartlead_rotate_webhook(PG_FUNCTION_ARGS)
{
	MemoryContext caller = CurrentMemoryContext;
	TimestampTz	  end = DatumGetTimestampTz(DirectFunctionCall2(
		  timestamptz_pl_interval, TimestampTzGetDatum(GetCurrentTimestamp()), PG_GETARG_DATUM(1)));
	SlWebhook	  webhook;
	char		 *url;

	PreventCommandIfReadOnly("smartlead_rotate_webhook()");
	SPI_connect();
	sl_registry_get(PG_GETARG_INT64(0), &webhook);
	if (webhook.ended)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("webhook " INT64_FORMAT " has ended", webhook.id)));
	url = MemoryContextStrdup(caller, sl_webhook_url(sl_registry_add_token(webhook.id, end)));
	if (webhook.remote_id != 0)
		change_url(&webhook, url);
	SPI_finish();
	PG_RETURN_TEXT_P(cstring_to_text(url));
}

/* What Smartlead says to a deletion. */
typedef enum Deletion
{
	DELETED,
	NOT_FOUND,	  /* it knows the route, and not the webhook */
	UNKNOWN_ROUTE /* which tells nothing about the webhook */
} Deletion;

/* Deletes it at Smartlead by one of the two forms that are told. */
static Deletion
delete_by(const SlConnection *connection, const SlWebhook *webhook, bool id_in_path)
{
	bool		at_campaign = strcmp(webhook->level, "campaign") == 0;
	const char *path = !id_in_path ? NULL : "{webhook_id}";
	SlArguments *delete = call_of(at_campaign ? "delete_campaign_webhook" : "delete_webhook", path);
	SlAnswer *answer;

	if (at_campaign)
		sl_arguments_set_bigint(delete, "campaign_id", webhook->campaign_id);
	sl_arguments_set_bigint(delete, id_in_path ? "webhook_id" : "id", webhook->remote_id);
	answer = sl_call_try(connection, delete);
	if (answer->problem == NULL)
		return DELETED;
	if (answer->problem->sqlstate == SL_ERRCODE_NOT_FOUND)
		return answer->root != NULL ? NOT_FOUND : UNKNOWN_ROUTE;
	sl_problem_raise(answer->problem);
}

/* Is it in the campaign's list? True as well when that can't be had. */
static bool
may_be_listed(const SlConnection *connection, const SlWebhook *webhook)
{
	SlArguments *list = call_of("list_webhooks", NULL);
	SlAnswer	*answer;
	const cJSON *row;
	int64		 id;

	sl_arguments_set_bigint(list, "campaign_id", webhook->campaign_id);
	answer = sl_call_try(connection, list);
	if (answer->problem != NULL)
		return answer->problem->sqlstate != SL_ERRCODE_NOT_FOUND || answer->root == NULL;
	cJSON_ArrayForEach (row, sl_answer_rows(answer))
	{
		if (sl_json_bigint(sl_json_member(row, "id"), &id) && id == webhook->remote_id)
			return true;
	}
	return false;
}

/* Removes it at Smartlead, or tells what has become of it. */
static void
remove_at_smartlead(const SlWebhook *webhook)
{
	SlConnection *connection = sl_connection_resolve(webhook->connection, GetUserId());
	Deletion	  by_body = delete_by(connection, webhook, false), by_path;
	bool		  may_be_there;

	if (by_body == DELETED)
		return;
	by_path = delete_by(connection, webhook, true);
	if (by_path == DELETED)
		return;
	if (strcmp(webhook->level, "campaign") == 0)
		may_be_there = may_be_listed(connection, webhook);
	else
		may_be_there = by_body == UNKNOWN_ROUTE && by_path == UNKNOWN_ROUTE;
	if (may_be_there)
		ereport(
			WARNING,
			(errmsg("webhook " INT64_FORMAT " could not be removed at Smartlead",
					webhook->remote_id),
			 errdetail("Its requests are refused here from now on, and Smartlead goes on to send "
					   "them."),
			 errhint("Remove it in Smartlead's own settings, or see "
					 "smartlead_list_webhooks().")));
	else
		ereport(NOTICE,
				(errmsg("Smartlead had no webhook " INT64_FORMAT " any more", webhook->remote_id)));
}

/*
 * smartlead_unsubscribe_webhook(webhook bigint) → boolean: false if it had ended already
 *
 * One that Smartlead doesn't have any more counts as removed. When it may have it still, a WARNING
 * says so: here it has ended all the same.
 */
Datum
smartlead_unsubscribe_webhook(PG_FUNCTION_ARGS)
{
	SlWebhook webhook;
	bool	  result;

	PreventCommandIfReadOnly("smartlead_unsubscribe_webhook()");
	SPI_connect();
	sl_registry_get(PG_GETARG_INT64(0), &webhook);
	result = sl_registry_end(webhook.id);
	if (result && webhook.remote_id != 0)
		remove_at_smartlead(&webhook);
	else if (result && strcmp(webhook.level, "by hand") != 0)
		ereport(WARNING, (errmsg("the webhook must be removed at Smartlead by hand"),
						  errdetail("Smartlead never told its id. It is refused from now on.")));
	SPI_finish();
	PG_RETURN_BOOL(result);
}
