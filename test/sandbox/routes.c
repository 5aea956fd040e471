/*
 * routes.c
 *		What is served, and what comes before it: agent, key, limit, faults.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "sandbox.h"

/* "#" stands for a number; more specific patterns come first. */
static const struct
{
	const char *method;
	const char *pattern;
	Handler		handler;
	const char *query; /* as check_query() wants it; any other key is refused */
} routes[] = {
	{"GET", "/campaigns", list_campaigns, "client_id:i include_tags:b"},
	{"POST", "/campaigns/create", create_campaign, ""},
	{"GET", "/campaigns/#", get_campaign, "include_tags:b"},
	{"DELETE", "/campaigns/#", delete_campaign, ""},
	{"POST", "/campaigns/#/status", set_campaign_status, ""},
	{"POST", "/campaigns/#/team-member", set_campaign_team_member, ""},
	{"POST", "/campaigns/#/schedule", set_campaign_schedule, ""},
	{"POST", "/campaigns/#/settings", update_campaign_settings, ""},
	{"POST", "/campaigns/#/sequences", save_campaign_sequences, ""},
	{"GET", "/campaigns/#/analytics", campaign_analytics, ""},
	{"GET", "/campaigns/#/analytics-by-date", campaign_analytics_by_date,
	 "start_date:s* end_date:s* time_zone:s"},
	{"GET", "/campaigns/#/leads", list_leads,
	 "offset:i limit:i status:s lead_category_id:i emailStatus:s "
	 "created_at_gt:s last_sent_time_gt:s event_time_gt:s"},
	{"POST", "/campaigns/#/leads", add_leads, ""},
	{"POST", "/campaigns/#/leads/#", update_lead, ""},
	{"DELETE", "/campaigns/#/leads/#", delete_lead, ""},
	{"POST", "/campaigns/#/leads/#/pause", pause_lead, ""},
	{"POST", "/campaigns/#/leads/#/resume", resume_lead, ""},
	{"POST", "/campaigns/#/leads/#/category", set_lead_category, ""},
	{"POST", "/campaigns/#/leads/#/unsubscribe", unsubscribe_from_campaign, ""},
	{"GET", "/campaigns/#/leads/#/message-history", lead_history,
	 "event_time_gt:s show_plain_text_response:b"},
	{"POST", "/campaigns/#/reply-email-thread", reply_to_lead, ""},
	{"GET", "/campaigns/#/email-accounts", list_campaign_accounts, "include_tags:b"},
	{"POST", "/campaigns/#/email-accounts", add_campaign_accounts, ""},
	{"DELETE", "/campaigns/#/email-accounts", remove_campaign_accounts, ""},
	{"GET", "/campaigns/#/webhooks", list_campaign_webhooks, ""},
	{"POST", "/campaigns/#/webhooks", save_campaign_webhook, ""},
	{"DELETE", "/campaigns/#/webhooks", delete_campaign_webhook, ""},
	{"DELETE", "/campaigns/#/webhooks/#", delete_campaign_webhook, ""},
	{"GET", "/campaigns/#/webhooks/summary", webhook_summary, "fromTime:s* toTime:s*"},
	{"POST", "/campaigns/#/webhooks/retrigger-failed-events", retrigger_webhooks, ""},
	{"GET", "/leads", lead_by_email, "email:s*"},
	{"GET", "/leads/fetch-categories", list_categories, ""},
	{"GET", "/leads/get-domain-block-list", list_blocked,
	 "offset:i limit:i filter_client_id:i filter_email_or_domain:s "
	 "filter_email_with_domain:s"},
	{"POST", "/leads/add-domain-block-list", block_domains, ""},
	{"DELETE", "/leads/delete-domain-block-list", unblock, "id:i*"},
	{"PATCH", "/master-inbox/update-revenue", update_revenue, ""},
	{"GET", "/leads/#", lead_by_id, ""},
	{"GET", "/leads/#/campaigns", lead_campaigns, ""},
	{"POST", "/leads/#/unsubscribe", unsubscribe_everywhere, ""},
	{"GET", "/email-accounts", list_accounts,
	 "offset:i limit:i isInUse:b emailWarmupStatus:s isSmtpSuccess:b "
	 "isWarmupBlocked:b esp:s username:s client_id:i fetch_campaigns:b"},
	{"GET", "/email-accounts/#", get_account, "fetch_campaigns:b fetch_tags:b"},
	{"POST", "/email-accounts/#", update_account, ""},
	{"GET", "/client", list_clients, ""},
	{"GET", "/smart-senders/get-vendors", list_vendors, ""},
	{"POST", "/smart-senders/place-order", place_order, ""},
	{"POST", "/webhook/create", create_webhook, ""},
	{"GET", "/webhook/#", get_webhook, ""},
	{"PUT", "/webhook/update/#", update_webhook, ""},
	{"DELETE", "/webhook/delete", delete_webhook, ""},
};

bool
path_matches(const char *pattern, const char *path, int64_t *ids)
{
	int n = 0;

	while (*pattern != '\0')
	{
		if (*pattern == '#')
		{
			char *end;

			if (!isdigit((unsigned char) *path))
				return false;
			ids[n++] = strtoll(path, &end, 10);
			path = end;
			pattern++;
		}
		else if (*pattern++ != *path++)
			return false;
	}
	return *path == '\0';
}

static bool
admitted(Call *call)
{
	const char *agent =
		MHD_lookup_connection_value(call->connection, MHD_HEADER_KIND, "User-Agent");

	if (agent == NULL || agent[0] == '\0')
		reply_text(call, 403, "text/html; charset=UTF-8",
				   "<html><head><title>Access denied | Error 1010</title></head><body>"
				   "browser_signature_banned</body></html>");
	else if (call->workspace == NULL)
		reply_text(call, 401, "application/json", "{\"message\":\"Invalid API Key\"}");
	else if (strcmp(call->workspace->key_name, "noaccess") == 0)
		reply_text(call, 403, "application/json", "{\"message\":\"Access denied\"}");
	else
		return true;
	return false;
}

static void
dispatch(Call *call)
{
	for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++)
	{
		memset(call->id, 0, sizeof(call->id));
		if (strcmp(routes[i].method, call->method) == 0 &&
			path_matches(routes[i].pattern, call->path, call->id))
		{
			if (check_query(call, routes[i].query))
				routes[i].handler(call);
			return;
		}
	}
	reply_unknown_route(call);
}

void
route(Call *call)
{
	call->fault = fault_for(call, true);
	if (call->fault == NULL)
	{
		if (!admitted(call) || !limit_take(call))
			return;
		call->fault = fault_for(call, false);
	}
	if (call->fault == NULL || fault_performs(call->fault))
	{
		if (call->raw_length > 0 && call->body == NULL)
			reply_text(call, 400, "application/json",
					   "{\"statusCode\":400,\"error\":\"Bad Request\",\"message\":\"Unexpected "
					   "token in JSON\"}");
		else
			dispatch(call);
	}
	if (call->fault != NULL)
		fault_apply(call, call->fault);
}
