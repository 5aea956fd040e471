/*
 * campaigns.c
 *		Campaigns and clients.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "sandbox.h"

cJSON *
campaign_or_404(Call *call, int64_t id)
{
	cJSON *campaign = find_by(call->workspace->campaigns, "id", id);

	if (campaign == NULL)
		reply_error(call, 404, "Campaign not found - Invalid campaign_id.");
	return campaign;
}

static cJSON *
campaign_copy(const cJSON *campaign, bool with_tags)
{
	cJSON *copy = cJSON_Duplicate(campaign, true);

	if (!with_tags)
		cJSON_DeleteItemFromObjectCaseSensitive(copy, "tags");
	else if (cJSON_GetObjectItemCaseSensitive(copy, "tags") == NULL)
		cJSON_AddArrayToObject(copy, "tags");
	return copy;
}

static bool
wants(const Call *call, const char *name)
{
	const char *value = query_value(call, name);

	return value != NULL && strcmp(value, "true") == 0;
}

void
list_campaigns(Call *call)
{
	const char *client = query_value(call, "client_id");
	cJSON	   *list, *campaign;

	list = cJSON_CreateArray();
	cJSON_ArrayForEach (campaign, call->workspace->campaigns)
	{
		if (client == NULL || number_of(campaign, "client_id", -1) == atoll(client))
			cJSON_AddItemToArray(list, campaign_copy(campaign, wants(call, "include_tags")));
	}
	reply_json(call, 200, list_in_envelope(list, "campaigns"));
}

void
create_campaign(Call *call)
{
	static const char *const rest =
		"{\"updated_at\":\"2026-04-01T08:00:00.000Z\",\"status\":\"DRAFTED\",\"user_id\":59646,"
		"\"track_settings\":[],\"scheduler_cron_value\":null,\"min_time_btwn_emails\":null,"
		"\"max_leads_per_day\":null,\"stop_lead_settings\":\"REPLY_TO_AN_EMAIL\","
		"\"schedule_start_time\":null,\"enable_ai_esp_matching\":false,\"send_as_plain_text\":"
		"false,"
		"\"follow_up_percentage\":100,\"unsubscribe_text\":null,\"parent_campaign_id\":null}";
	cJSON	   *campaign, *answer;
	const char *name = text_of(call->body, "name");
	int64_t		client = number_of(call->body, "client_id", 0);
	int64_t		id;

	if (!check_body(call, "name:s client_id:i?"))
		return;
	if (client != 0 && find_by(call->workspace->clients, "id", client) == NULL)
	{
		reply_error(call, 400, "Client not found - Invalid client_id.");
		return;
	}
	id = call->workspace->next_id++;
	campaign = cJSON_Parse(rest);
	cJSON_AddNumberToObject(campaign, "id", id);
	cJSON_AddStringToObject(campaign, "name", name != NULL ? name : "Untitled Campaign");
	cJSON_AddStringToObject(campaign, "created_at", "2026-04-01T08:00:00.000Z");
	cJSON_AddItemToObject(campaign, "client_id",
						  client ? cJSON_CreateNumber(client) : cJSON_CreateNull());
	cJSON_InsertItemInArray(call->workspace->campaigns, 0, campaign);

	answer = cJSON_CreateObject();
	cJSON_AddTrueToObject(answer, "ok");
	cJSON_AddNumberToObject(answer, "id", id);
	cJSON_AddStringToObject(answer, "name", text_of(campaign, "name"));
	cJSON_AddStringToObject(answer, "created_at", text_of(campaign, "created_at"));
	reply_json(call, 200, answer);
}

void
get_campaign(Call *call)
{
	cJSON *campaign;

	campaign = find_by(call->workspace->campaigns, "id", call->id[0]);
	if (campaign != NULL)
		reply_json(call, 200, campaign_copy(campaign, wants(call, "include_tags")));
	else if (switch_is("campaign_not_found", "empty_object"))
		reply_text(call, 200, "application/json", "{}");
	else if (switch_is("campaign_not_found", "empty_body"))
		reply_text(call, 200, "application/json", "");
	else
		campaign_or_404(call, call->id[0]);
}

void
delete_campaign(Call *call)
{
	cJSON *campaign = campaign_or_404(call, call->id[0]);

	if (campaign == NULL)
		return;
	if (strcmp(text_of(campaign, "status"), "ACTIVE") == 0)
	{
		reply_error(call, 400, "CAMPAIGN_ACTIVE");
		return;
	}
	cJSON_Delete(cJSON_DetachItemViaPointer(call->workspace->campaigns, campaign));
	reply_ok(call, NULL);
}

void
set_campaign_status(Call *call)
{
	cJSON	   *campaign = campaign_or_404(call, call->id[0]);
	const char *status = text_of(call->body, "status");
	const char *reads;
	char	   *overrides;

	if (campaign == NULL || !check_body(call, "status:s*"))
		return;
	reads = strcmp(status, "START") == 0	 ? "ACTIVE"
			: strcmp(status, "PAUSED") == 0	 ? "PAUSED"
			: strcmp(status, "STOPPED") == 0 ? "STOPPED"
											 : NULL;
	if (reads == NULL)
	{
		reply_invalid(call, "body", "status", "\"status\" must be one of [START, PAUSED, STOPPED]");
		return;
	}
	if (asprintf(&overrides, "{\"previous_status\":\"%s\",\"current_status\":\"%s\"}",
				 text_of(campaign, "status"), reads) > 0)
	{
		cJSON *json = cJSON_Parse(overrides);

		set_item(campaign, "status", cJSON_CreateString(reads));
		deliver_event(call->workspace, "CAMPAIGN_STATUS_CHANGED", call->id[0], 0, json, 0);
		cJSON_Delete(json);
		free(overrides);
	}
	reply_ok(call, NULL);
}

void
set_campaign_team_member(Call *call)
{
	if (campaign_or_404(call, call->id[0]) != NULL && check_body(call, "teamMemberId:i*"))
		reply_ok(call, NULL);
}

void
set_campaign_schedule(Call *call)
{
	cJSON *campaign = campaign_or_404(call, call->id[0]);

	if (campaign == NULL ||
		!check_body(call, "timezone:s* days_of_the_week:a* start_hour:s* end_hour:s* "
						  "min_time_btw_emails:i* max_new_leads_per_day:i* schedule_start_time:s"))
		return;
	if (number_of(call->body, "min_time_btw_emails", 0) < 3)
	{
		reply_invalid(call, "body", "min_time_btw_emails",
					  "\"min_time_btw_emails\" must be greater than or equal to 3");
		return;
	}
	set_item(campaign, "min_time_btwn_emails",
			 cJSON_Duplicate(cJSON_GetObjectItem(call->body, "min_time_btw_emails"), true));
	set_item(campaign, "max_leads_per_day",
			 cJSON_Duplicate(cJSON_GetObjectItem(call->body, "max_new_leads_per_day"), true));
	reply_ok(call, NULL);
}

void
update_campaign_settings(Call *call)
{
	static const char *const read_back[] = {"name", "stop_lead_settings", "unsubscribe_text",
											"follow_up_percentage"};
	cJSON					*campaign = campaign_or_404(call, call->id[0]);
	const cJSON				*out_of_office;

	if (campaign == NULL ||
		!check_body(call,
					"name:s track_settings:a stop_lead_settings:s unsubscribe_text:s "
					"send_as_plain_text:b force_plain_text:b follow_up_percentage:i client_id:i? "
					"enable_ai_esp_matching:b auto_pause_domain_leads_on_reply:b "
					"ignore_ss_mailbox_sending_limit:b bounce_autopause_threshold:s "
					"domain_level_rate_limit:b add_unsubscribe_tag:b "
					"out_of_office_detection_settings:o ai_categorisation_options:a"))
		return;
	out_of_office = cJSON_GetObjectItem(call->body, "out_of_office_detection_settings");
	if (out_of_office != NULL &&
		!check_object(call, "out_of_office_detection_settings", out_of_office,
					  "ignoreOOOasReply:b autoReactivateOOO:b reactivateOOOwithDelay:i "
					  "autoCategorizeOOO:b"))
		return;
	for (size_t i = 0; i < sizeof(read_back) / sizeof(read_back[0]); i++)
	{
		const cJSON *given = cJSON_GetObjectItem(call->body, read_back[i]);

		if (given != NULL)
			set_item(campaign, read_back[i], cJSON_Duplicate(given, true));
	}
	reply_ok(call, NULL);
}

void
save_campaign_sequences(Call *call)
{
	const cJSON *sequence;

	if (campaign_or_404(call, call->id[0]) == NULL || !check_body(call, "sequences:a*"))
		return;
	cJSON_ArrayForEach (sequence, cJSON_GetObjectItem(call->body, "sequences"))
		if (!check_object(call, "sequences", sequence,
						  "id:i? seq_number:i* seq_delay_details:o* subject:s email_body:s "
						  "seq_variants:a"))
			return;
	reply_ok(call, NULL);
}

void
campaign_analytics_by_date(Call *call)
{
	cJSON *campaign = campaign_or_404(call, call->id[0]);
	cJSON *answer;

	if (campaign == NULL)
		return;
	answer = cJSON_CreateObject();
	cJSON_AddNumberToObject(answer, "id", call->id[0]);
	cJSON_AddStringToObject(answer, "name", text_of(campaign, "name"));
	cJSON_AddStringToObject(answer, "start_date", query_value(call, "start_date"));
	cJSON_AddStringToObject(answer, "end_date", query_value(call, "end_date"));
	cJSON_AddStringToObject(answer, "sent_count", "140");
	cJSON_AddStringToObject(answer, "reply_count", "7");
	reply_json(call, 200, answer);
}

void
campaign_analytics(Call *call)
{
	static const struct
	{
		const char *name;
		int			value;
	} counts[] = {
		{"sent_count", 140},	   {"unique_sent_count", 100}, {"open_count", 0},
		{"unique_open_count", 0},  {"click_count", 0},		   {"unique_click_count", 0},
		{"reply_count", 7},		   {"bounce_count", 2},		   {"block_count", 0},
		{"unsubscribed_count", 1}, {"total_count", 261},	   {"drafted_count", 121},
		{"sequence_count", 3},
	};
	cJSON *campaign = campaign_or_404(call, call->id[0]);
	cJSON *answer;
	bool   text = switch_is("count_form", "text");

	if (campaign == NULL)
		return;
	answer = cJSON_CreateObject();
	cJSON_AddNumberToObject(answer, "id", call->id[0]);
	cJSON_AddStringToObject(answer, "name", text_of(campaign, "name"));
	cJSON_AddStringToObject(answer, "status", text_of(campaign, "status"));
	cJSON_AddItemToObject(answer, "user_id",
						  cJSON_Duplicate(cJSON_GetObjectItem(campaign, "user_id"), true)
							  ?: cJSON_CreateNull());
	cJSON_AddStringToObject(answer, "created_at", text_of(campaign, "created_at") ?: "");
	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
		add_id(answer, counts[i].name, counts[i].value, text);
	cJSON_AddItemToObject(answer, "tags",
						  cJSON_Duplicate(cJSON_GetObjectItem(campaign, "tags"), true)
							  ?: cJSON_CreateArray());
	cJSON_AddItemToObject(answer, "client_id",
						  cJSON_Duplicate(cJSON_GetObjectItem(campaign, "client_id"), true)
							  ?: cJSON_CreateNull());
	cJSON_AddNullToObject(answer, "client_name");
	cJSON_AddNullToObject(answer, "client_email");
	cJSON_AddItemToObject(answer, "parent_campaign_id",
						  cJSON_Duplicate(cJSON_GetObjectItem(campaign, "parent_campaign_id"), true)
							  ?: cJSON_CreateNull());
	cJSON_AddItemToObject(
		answer, "campaign_lead_stats",
		cJSON_Parse("{\"total\":261,\"notStarted\":121,\"inprogress\":90,\"completed\":40,"
					"\"paused\":1,\"stopped\":7,\"blocked\":2,\"interested\":3,\"revenue\":0}"));
	reply_json(call, 200, answer);
}

void
list_clients(Call *call)
{
	reply_json(call, 200,
			   list_in_envelope(cJSON_Duplicate(call->workspace->clients, true), "clients"));
}
