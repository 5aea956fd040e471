/*
 * webhooks.c
 *		The registration of webhooks, at campaign, client and user level.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sandbox.h"

static const char *const event_types =
	"EMAIL_SENT FIRST_EMAIL_SENT EMAIL_OPEN EMAIL_LINK_CLICK EMAIL_REPLY LEAD_UNSUBSCRIBED "
	"LEAD_CATEGORY_UPDATED EMAIL_BOUNCE CAMPAIGN_STATUS_CHANGED UNTRACKED_REPLIES "
	"MANUAL_STEP_REACHED ";

static bool
known_event_types(Call *call, const cJSON *types)
{
	const cJSON *type;

	cJSON_ArrayForEach (type, types)
	{
		char word[64], message[128];

		snprintf(word, sizeof(word), "%s ",
				 cJSON_IsString(type) ? type->valuestring : type->string);
		if (strstr(event_types, word) != NULL)
			continue;
		snprintf(message, sizeof(message), "Invalid event_types - %s", word);
		message[strlen(message) - 1] = '\0';
		reply_error(call, 400, message);
		return false;
	}
	return true;
}

static bool
known_categories(Call *call, const cJSON *names)
{
	const cJSON *name, *category;

	if (names != NULL && cJSON_GetArraySize(names) == 0)
	{
		reply_invalid(call, "body", "categories", "\"categories\" is not allowed to be empty");
		return false;
	}
	cJSON_ArrayForEach (name, names)
	{
		bool found = false;
		char message[128];

		cJSON_ArrayForEach (category, call->workspace->categories)
		{
			found |=
				cJSON_IsString(name) && strcmp(name->valuestring, text_of(category, "name")) == 0;
		}
		if (found)
			continue;
		snprintf(message, sizeof(message), "Invalid category - %s",
				 cJSON_IsString(name) ? name->valuestring : "?");
		reply_error(call, 400, message);
		return false;
	}
	return true;
}

static bool
good_url(Call *call, const char *url)
{
	char message[512];

	if (url != NULL && (strncmp(url, "https://", 8) == 0 || strncmp(url, "http://", 7) == 0))
		return true;
	snprintf(message, sizeof(message), "Invalid webhook_url - %s", url != NULL ? url : "");
	reply_error(call, 400, message);
	return false;
}

static cJSON *
new_webhook(Call *call, const char *level)
{
	cJSON *webhook = cJSON_CreateObject();

	cJSON_AddNumberToObject(webhook, "id", call->workspace->next_id++);
	cJSON_AddStringToObject(webhook, "created_at", "2026-04-01T08:00:00.000Z");
	cJSON_AddStringToObject(webhook, "updated_at", "2026-04-01T08:00:00.000Z");
	cJSON_AddStringToObject(webhook, "level", level);
	cJSON_AddTrueToObject(webhook, "is_active");
	cJSON_AddItemToArray(call->workspace->webhooks, webhook);
	return webhook;
}

/* ---- the campaign routes ---- */

static cJSON *
campaign_form(const cJSON *webhook)
{
	cJSON *copy = cJSON_Duplicate(webhook, true);

	cJSON_DeleteItemFromObject(copy, "level");
	cJSON_DeleteItemFromObject(copy, "is_active");
	return copy;
}

void
list_campaign_webhooks(Call *call)
{
	cJSON *list, *webhook;

	if (campaign_or_404(call, call->id[0]) == NULL)
		return;
	list = cJSON_CreateArray();
	cJSON_ArrayForEach (webhook, call->workspace->webhooks)
	{
		if (number_of(webhook, "email_campaign_id", 0) == call->id[0])
			cJSON_AddItemToArray(list, campaign_form(webhook));
	}
	reply_json(call, 200, list_in_envelope(list, "data"));
}

/* As registered: {"EMAIL_SENT": true, …}, {"1": true, …}. */
static cJSON *
type_map(const cJSON *types)
{
	cJSON		*map = cJSON_CreateObject();
	const cJSON *type;

	cJSON_ArrayForEach (type, types)
	{
		cJSON_AddTrueToObject(map, type->valuestring);
	}
	return map;
}

static cJSON *
category_map(const Workspace *workspace, const cJSON *names)
{
	cJSON		*map = cJSON_CreateObject();
	const cJSON *name, *category;

	cJSON_ArrayForEach (name, names)
	{
		cJSON_ArrayForEach (category, workspace->categories)
		{
			char id[24];

			snprintf(id, sizeof(id), "%lld", (long long) number_of(category, "id", 0));
			if (strcmp(text_of(category, "name"), name->valuestring) == 0)
				cJSON_AddTrueToObject(map, id);
		}
	}
	return map;
}

/* What users of the live service see; the older documentation has the lists, and no id. */
static cJSON *
saved_form(const Workspace *workspace, const cJSON *webhook)
{
	cJSON *answer = campaign_form(webhook);

	cJSON_DeleteItemFromObject(answer, "created_at");
	cJSON_DeleteItemFromObject(answer, "updated_at");
	if (switch_is("write_form", "d"))
	{
		cJSON_DeleteItemFromObject(answer, "id");
		cJSON_AddTrueToObject(answer, "ok");
		return answer;
	}
	cJSON_AddItemToObject(answer, "event_type_map",
						  type_map(cJSON_GetObjectItem(webhook, "event_types")));
	cJSON_AddItemToObject(answer, "category_id_map",
						  category_map(workspace, cJSON_GetObjectItem(webhook, "categories")));
	cJSON_DeleteItemFromObject(answer, "event_types");
	cJSON_DeleteItemFromObject(answer, "categories");
	return answer;
}

/* A webhook of this campaign, and of no other. */
static cJSON *
find_campaign_webhook(Call *call, int64_t id)
{
	cJSON *webhook = find_by(call->workspace->webhooks, "id", id);

	if (webhook != NULL && number_of(webhook, "email_campaign_id", 0) == call->id[0])
		return webhook;
	reply_error(call, 404, "Webhook not found");
	return NULL;
}

void
save_campaign_webhook(Call *call)
{
	const cJSON *types = cJSON_GetObjectItem(call->body, "event_types");
	const cJSON *categories = cJSON_GetObjectItem(call->body, "categories");
	int64_t		 id = number_of(call->body, "id", 0);
	cJSON		*webhook;

	if (!check_body(call, "id:i? name:s* webhook_url:s* event_types:a* categories:a") ||
		campaign_or_404(call, call->id[0]) == NULL ||
		!good_url(call, text_of(call->body, "webhook_url")) || !known_event_types(call, types) ||
		!known_categories(call, categories))
		return;
	webhook = id != 0 ? find_campaign_webhook(call, id) : new_webhook(call, "campaign");
	if (webhook == NULL)
		return;
	set_item(webhook, "name", cJSON_CreateString(text_of(call->body, "name")));
	set_item(webhook, "webhook_url", cJSON_CreateString(text_of(call->body, "webhook_url")));
	set_item(webhook, "email_campaign_id", cJSON_CreateNumber(call->id[0]));
	set_item(webhook, "event_types", cJSON_Duplicate(types, true));
	set_item(webhook, "categories",
			 categories != NULL ? cJSON_Duplicate(categories, true) : cJSON_CreateArray());
	if (switch_on("webhook_test_event_on_save"))
		deliver_test_event(call->workspace, webhook);
	reply_json(call, 200, saved_form(call->workspace, webhook));
}

static void
remove_webhook(Call *call, cJSON *webhook)
{
	cJSON_Delete(cJSON_DetachItemViaPointer(call->workspace->webhooks, webhook));
	reply_ok(call, NULL);
}

/* By the id in the body, or in the path when the switch says so. */
void
delete_campaign_webhook(Call *call)
{
	bool in_path = call->id[1] != 0;

	if (in_path != switch_is("category_webhook_delete", "path"))
		reply_unknown_route(call);
	else if ((in_path || check_body(call, "id:i*")) && campaign_or_404(call, call->id[0]) != NULL)
	{
		cJSON *webhook =
			find_campaign_webhook(call, in_path ? call->id[1] : number_of(call->body, "id", 0));

		if (webhook != NULL)
			remove_webhook(call, webhook);
	}
}

/* ---- the routes for all levels ---- */

void
create_webhook(Call *call)
{
	const char *level = text_of(call->body, "association_type");
	cJSON	   *webhook, *answer;

	if (!check_body(call, "webhook_url:s* association_type:s* email_campaign_id:i? client_id:i? "
						  "name:s event_type_map:o category_id_map:o event_type:s category_id:i "
						  "webhook_type:s force_create:b") ||
		!good_url(call, text_of(call->body, "webhook_url")) ||
		!known_event_types(call, cJSON_GetObjectItem(call->body, "event_type_map")))
		return;
	if (strcmp(level, "user") != 0 && strcmp(level, "client") != 0 &&
		strcmp(level, "campaign") != 0)
	{
		reply_invalid(call, "body", "association_type",
					  "\"association_type\" must be one of [user, client, campaign]");
		return;
	}
	webhook = new_webhook(call, level);
	for (cJSON *field = call->body->child; field != NULL; field = field->next)
		set_item(webhook, field->string, cJSON_Duplicate(field, true));
	answer = cJSON_CreateObject();
	cJSON_AddTrueToObject(answer, "ok");
	cJSON_AddNumberToObject(answer, "id", number_of(webhook, "id", 0));
	cJSON_AddStringToObject(answer, "webhook_url", text_of(webhook, "webhook_url"));
	reply_json(call, 200, answer);
}

void
get_webhook(Call *call)
{
	cJSON *webhook = find_by(call->workspace->webhooks, "id", call->id[0]);
	cJSON *answer;

	if (webhook == NULL)
	{
		reply_error(call, 404, "Webhook not found");
		return;
	}
	answer = cJSON_CreateObject();
	cJSON_AddTrueToObject(answer, "ok");
	cJSON_AddItemToObject(answer, "data", cJSON_Duplicate(webhook, true));
	reply_json(call, 200, answer);
}

void
update_webhook(Call *call)
{
	cJSON *webhook = find_by(call->workspace->webhooks, "id", call->id[0]);

	if (!check_body(call, "name:s webhook_url:s event_types:a categories:a"))
		return;
	if (webhook == NULL)
	{
		reply_error(call, 404, "Webhook not found");
		return;
	}
	for (cJSON *field = call->body->child; field != NULL; field = field->next)
		set_item(webhook, field->string, cJSON_Duplicate(field, true));
	reply_ok(call, NULL);
}

void
delete_webhook(Call *call)
{
	cJSON *webhook;

	if (!check_body(call, "id:i*"))
		return;
	webhook = find_by(call->workspace->webhooks, "id", number_of(call->body, "id", 0));
	if (webhook == NULL)
		reply_error(call, 404, "Webhook not found");
	else
		remove_webhook(call, webhook);
}

void
webhook_summary(Call *call)
{
	cJSON *answer = cJSON_CreateObject();
	cJSON *data = cJSON_AddObjectToObject(answer, "data");
	cJSON *range;

	cJSON_AddArrayToObject(data, "summary");
	range = cJSON_AddObjectToObject(data, "timeRange");
	cJSON_AddStringToObject(range, "from", query_value(call, "fromTime"));
	cJSON_AddStringToObject(range, "to", query_value(call, "toTime"));
	if (campaign_or_404(call, call->id[0]) != NULL)
		reply_json(call, 200, answer);
	else
		cJSON_Delete(answer);
}

void
retrigger_webhooks(Call *call)
{
	char answer[64];

	if (!check_body(call, "fromTime:s* toTime:s*") || campaign_or_404(call, call->id[0]) == NULL)
		return;
	snprintf(answer, sizeof(answer), "{\"success\":true,\"retriggered_count\":%d}",
			 deliver_retrigger(call->workspace, call->id[0]));
	reply_text(call, 200, "application/json", answer);
}
