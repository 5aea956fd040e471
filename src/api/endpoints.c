/*
 * api/endpoints.c
 *		The endpoint table: what can be asked of Smartlead, and how.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "api/complete.h"
#include "api/domain.h"
#include "api/endpoints.h"

/* ---- how objects become rows ---- */

static const SlFieldAlias email_account_aliases[] = {
	{"minTimeToWaitInMins", "min_time_to_wait_in_mins"},
	{"time_to_wait_in_mins", "min_time_to_wait_in_mins"},
	{NULL, NULL},
};

static const SlFieldAlias campaign_lead_aliases[] = {
	{"id", "lead_id"},
	{NULL, NULL},
};

static const SlShape lead_shape = {.dashes_are_null = true};

static const SlShape email_account_shape = {.aliases = email_account_aliases};

static const char *const campaign_lead_ids[] = {"campaign_lead_map_id", "lead_id", NULL};

/* {"campaign_lead_map_id", …, "lead": {…}}, or all of it flat. */
static const SlShape campaign_lead_shape = {
	.nested = "lead",
	.aliases = campaign_lead_aliases,
	.nested_aliases = campaign_lead_aliases,
	.ids = campaign_lead_ids,
	.dashes_are_null = true,
};

static const SlFieldAlias webhook_aliases[] = {
	{"email_campaign_id", "campaign_id"},
	{NULL, NULL},
};

static const SlShape webhook_shape = {.aliases = webhook_aliases};

/* ---- parameters that many endpoints have ---- */

#define CAMPAIGN_ID                                                                                \
	{                                                                                              \
		"campaign_id", SL_IN_PATH, SL_BIGINT, .required = true                                     \
	}
#define LEAD_ID                                                                                    \
	{                                                                                              \
		"lead_id", SL_IN_PATH, SL_BIGINT, .required = true                                         \
	}
#define EMAIL_ACCOUNT_ID                                                                           \
	{                                                                                              \
		"email_account_id", SL_IN_PATH, SL_BIGINT, .required = true                                \
	}
#define END                                                                                        \
	{                                                                                              \
		NULL                                                                                       \
	}
#define PARAMS(...)                                                                                \
	(const SlParam[])                                                                              \
	{                                                                                              \
		__VA_ARGS__, END                                                                           \
	}
#define NO_PARAMS                                                                                  \
	(const SlParam[])                                                                              \
	{                                                                                              \
		END                                                                                        \
	}

/* One parameter a line reads better than filled lines. */
/* clang-format off */
const SlEndpoint sl_endpoints[] = {
	/* ---- campaigns ---- */
	{
		.name = "create_campaign",
		.kind = SL_ACTION,
		.method = SL_POST,
		.path = "/campaigns/create",
		/* Names are not unique at Smartlead: sent twice, it makes two campaigns. */
		.repeatable = false,
		.makes_an_id = true,
		.params = PARAMS({"name", SL_IN_BODY, SL_TEXT, .required = true},
						 {"client_id", SL_IN_BODY, SL_BIGINT}),
	},
	{
		.name = "delete_campaign",
		.kind = SL_ACTION,
		.method = SL_DELETE,
		.path = "/campaigns/{campaign_id}",
		.repeatable = true,
		.params = PARAMS(CAMPAIGN_ID),
	},
	{
		.name = "get_campaign",
		.kind = SL_LOOKUP,
		.method = SL_GET,
		.path = "/campaigns/{campaign_id}",
		.repeatable = true,
		.params = PARAMS(CAMPAIGN_ID,
						 {"include_tags", SL_IN_QUERY, SL_BOOLEAN}),
	},
	{
		.name = "list_campaigns",
		.kind = SL_LISTING,
		.method = SL_GET,
		.path = "/campaigns/",
		.repeatable = true,
		.params = PARAMS({"client_id", SL_IN_QUERY, SL_BIGINT},
						 {"include_tags", SL_IN_QUERY, SL_BOOLEAN}),
	},

	/* ---- leads ---- */
	{
		.name = "get_lead",
		.kind = SL_LOOKUP,
		.method = SL_GET,
		.path = "/leads/",
		.repeatable = true,
		.shape = &lead_shape,
		.params = PARAMS({"email", SL_IN_QUERY, SL_TEXT, .required = true}),
	},
	{
		.name = "get_lead",
		.kind = SL_LOOKUP,
		.method = SL_GET,
		.path = "/leads/{lead_id}",
		.repeatable = true,
		.shape = &lead_shape,
		.params = PARAMS(LEAD_ID),
	},
	{
		.name = "list_leads",
		.kind = SL_LISTING,
		.method = SL_GET,
		.path = "/campaigns/{campaign_id}/leads",
		.repeatable = true,
		.page_size = 100,
		.row_id = "campaign_lead_map_id",
		.shape = &campaign_lead_shape,
		.params = PARAMS(CAMPAIGN_ID,
						 {"status", SL_IN_QUERY, SL_TEXT},
						 {"lead_category_id", SL_IN_QUERY, SL_BIGINT},
						 {"email_status", SL_IN_QUERY, SL_TEXT, .wire = "emailStatus"},
						 {"created_after", SL_IN_QUERY, SL_TIMESTAMP, .wire = "created_at_gt"},
						 {"last_sent_after", SL_IN_QUERY, SL_TIMESTAMP, .wire = "last_sent_time_gt"},
						 {"event_after", SL_IN_QUERY, SL_TIMESTAMP, .wire = "event_time_gt"}),
	},
	{
		.name = "update_lead",
		.kind = SL_ACTION,
		.method = SL_POST,
		.path = "/campaigns/{campaign_id}/leads/{lead_id}",
		.repeatable = true,
		.needs_a_change = true,
		.completion = &sl_complete_lead_email,
		.params = PARAMS(CAMPAIGN_ID,
						 LEAD_ID,
						 {"email", SL_IN_BODY, SL_TEXT},
						 {"first_name", SL_IN_BODY, SL_TEXT},
						 {"last_name", SL_IN_BODY, SL_TEXT},
						 {"phone_number", SL_IN_BODY, SL_TEXT},
						 {"company_name", SL_IN_BODY, SL_TEXT},
						 {"website", SL_IN_BODY, SL_TEXT},
						 {"location", SL_IN_BODY, SL_TEXT},
						 {"linkedin_profile", SL_IN_BODY, SL_TEXT},
						 {"company_url", SL_IN_BODY, SL_TEXT},
						 {"custom_fields", SL_IN_BODY, SL_OBJECT}),
	},
	{
		.name = "update_lead_category",
		.kind = SL_ACTION,
		.method = SL_POST,
		.path = "/campaigns/{campaign_id}/leads/{lead_id}/category",
		.repeatable = true,
		.params = PARAMS(CAMPAIGN_ID,
						 LEAD_ID,
						 {"category_id", SL_IN_BODY, SL_BIGINT, .required = true},
						 {"pause_lead", SL_IN_BODY, SL_BOOLEAN}),
	},
	{
		.name = "update_lead_category",
		.kind = SL_ACTION,
		.method = SL_POST,
		.path = "/campaigns/{campaign_id}/leads/{lead_id}/category",
		.repeatable = true,
		.completion = &sl_complete_category_id,
		.params = PARAMS(CAMPAIGN_ID,
						 LEAD_ID,
						 {"category", SL_NOT_SENT_ITSELF, SL_TEXT, .required = true},
						 {"pause_lead", SL_IN_BODY, SL_BOOLEAN},
						 {"category_id", SL_IN_BODY, SL_BIGINT, .found_out = true}),
	},
	{
		.name = "clear_lead_category",
		.kind = SL_ACTION,
		.method = SL_POST,
		.path = "/campaigns/{campaign_id}/leads/{lead_id}/category",
		.repeatable = true,
		.fixed_body = "\"category_id\":null",
		.params = PARAMS(CAMPAIGN_ID,
						 LEAD_ID),
	},
	{
		.name = "pause_lead",
		.kind = SL_ACTION,
		.method = SL_POST,
		.path = "/campaigns/{campaign_id}/leads/{lead_id}/pause",
		.repeatable = true,
		.params = PARAMS(CAMPAIGN_ID,
						 LEAD_ID),
	},
	{
		.name = "resume_lead",
		.kind = SL_ACTION,
		.method = SL_POST,
		.path = "/campaigns/{campaign_id}/leads/{lead_id}/resume",
		.repeatable = true,
		.params = PARAMS(CAMPAIGN_ID,
						 LEAD_ID,
						 {"delay_days", SL_IN_BODY, SL_BIGINT, .wire = "resume_lead_with_delay_days"}),
	},
	{
		.name = "delete_lead",
		.kind = SL_ACTION,
		.method = SL_DELETE,
		.path = "/campaigns/{campaign_id}/leads/{lead_id}",
		.repeatable = true,
		.params = PARAMS(CAMPAIGN_ID,
						 LEAD_ID),
	},
	{
		.name = "unsubscribe_lead",
		.kind = SL_ACTION,
		.method = SL_POST,
		.path = "/leads/{lead_id}/unsubscribe",
		.repeatable = true,
		.urgent = true,
		.params = PARAMS(LEAD_ID),
	},
	{
		.name = "unsubscribe_campaign_lead",
		.kind = SL_ACTION,
		.method = SL_POST,
		.path = "/campaigns/{campaign_id}/leads/{lead_id}/unsubscribe",
		.repeatable = true,
		.urgent = true,
		.params = PARAMS(CAMPAIGN_ID,
						 LEAD_ID),
	},
	{
		.name = "unsubscribe_lead",
		.kind = SL_ACTION,
		.method = SL_POST,
		.path = "/leads/{lead_id}/unsubscribe",
		.repeatable = true,
		.urgent = true,
		.completion = &sl_complete_lead_id,
		.params = PARAMS({"email", SL_NOT_SENT_ITSELF, SL_TEXT, .required = true},
						 {"lead_id", SL_IN_PATH, SL_BIGINT, .found_out = true}),
	},
	{
		.name = "list_lead_categories",
		.kind = SL_LISTING,
		.method = SL_GET,
		.path = "/leads/fetch-categories",
		.repeatable = true,
		.params = NO_PARAMS,
	},

	/* ---- email accounts ---- */
	{
		.name = "get_email_account",
		.kind = SL_LOOKUP,
		.method = SL_GET,
		.path = "/email-accounts/{email_account_id}/",
		.repeatable = true,
		.has_passwords = true,
		.shape = &email_account_shape,
		.params = PARAMS(EMAIL_ACCOUNT_ID,
						 {"fetch_campaigns", SL_IN_QUERY, SL_BOOLEAN},
						 {"fetch_tags", SL_IN_QUERY, SL_BOOLEAN}),
	},
	{
		.name = "list_email_accounts",
		.kind = SL_LISTING,
		.method = SL_GET,
		.path = "/email-accounts/",
		.repeatable = true,
		.has_passwords = true,
		.page_size = 100,
		.row_id = "id",
		.shape = &email_account_shape,
		.params = PARAMS({"is_in_use", SL_IN_QUERY, SL_BOOLEAN, .wire = "isInUse"},
						 {"warmup_status", SL_IN_QUERY, SL_TEXT, .wire = "emailWarmupStatus"},
						 {"is_smtp_success", SL_IN_QUERY, SL_BOOLEAN, .wire = "isSmtpSuccess"},
						 {"is_warmup_blocked", SL_IN_QUERY, SL_BOOLEAN, .wire = "isWarmupBlocked"},
						 {"type", SL_IN_QUERY, SL_TEXT, .wire = "esp"},
						 {"username", SL_IN_QUERY, SL_TEXT},
						 {"client_id", SL_IN_QUERY, SL_BIGINT},
						 {"fetch_campaigns", SL_IN_QUERY, SL_BOOLEAN}),
	},
	{
		.name = "list_campaign_email_accounts",
		.kind = SL_LISTING,
		.method = SL_GET,
		.path = "/campaigns/{campaign_id}/email-accounts",
		.repeatable = true,
		.has_passwords = true,
		.shape = &email_account_shape,
		.params = PARAMS(CAMPAIGN_ID,
						 {"include_tags", SL_IN_QUERY, SL_BOOLEAN}),
	},
	{
		.name = "update_email_account",
		.kind = SL_ACTION,
		.method = SL_POST,
		.path = "/email-accounts/{email_account_id}",
		.repeatable = true,
		.needs_a_change = true,
		.params = PARAMS(EMAIL_ACCOUNT_ID,
						 {"message_per_day", SL_IN_BODY, SL_BIGINT, .wire = "max_email_per_day"},
						 {"from_name", SL_IN_BODY, SL_TEXT},
						 {"custom_tracking_domain", SL_IN_BODY, SL_TEXT, .wire = "custom_tracking_url"},
						 {"bcc_email", SL_IN_BODY, SL_TEXT, .wire = "bcc"},
						 {"signature", SL_IN_BODY, SL_TEXT},
						 {"client_id", SL_IN_BODY, SL_BIGINT},
						 {"min_time_to_wait_in_mins", SL_IN_BODY, SL_BIGINT, .wire = "time_to_wait_in_mins"},
						 {"is_suspended", SL_IN_BODY, SL_BOOLEAN}),
	},
	{
		.name = "clear_email_account_client",
		.kind = SL_ACTION,
		.method = SL_POST,
		.path = "/email-accounts/{email_account_id}",
		.repeatable = true,
		.fixed_body = "\"client_id\":null",
		.params = PARAMS(EMAIL_ACCOUNT_ID),
	},
	{
		.name = "add_campaign_email_accounts",
		.kind = SL_ACTION,
		.method = SL_POST,
		.path = "/campaigns/{campaign_id}/email-accounts",
		.repeatable = true,
		.params = PARAMS(CAMPAIGN_ID,
						 {"email_account_ids", SL_IN_BODY, SL_BIGINTS, .required = true},
						 {"auto_adjust_warmup", SL_IN_BODY, SL_BOOLEAN}),
	},
	{
		.name = "remove_campaign_email_accounts",
		.kind = SL_ACTION,
		.method = SL_DELETE,
		.path = "/campaigns/{campaign_id}/email-accounts",
		.repeatable = true,
		.params = PARAMS(CAMPAIGN_ID,
						 {"email_account_ids", SL_IN_BODY, SL_BIGINTS, .required = true, .alternative = "email_accounts_ids"}),
	},

	/* ---- block list ---- */
	{
		.name = "block_domain",
		.kind = SL_ACTION,
		.method = SL_POST,
		.path = "/leads/add-domain-block-list",
		.repeatable = true,
		.urgent = true,
		.count_field = "totalDomainAdded",
		.params = PARAMS({"domain", SL_IN_BODY, SL_TEXT_AS_LIST, .required = true, .wire = "domain_block_list", .read = sl_domain_read},
						 {"client_id", SL_IN_BODY, SL_BIGINT}),
	},
	{
		.name = "block_domains",
		.kind = SL_ACTION,
		.method = SL_POST,
		.path = "/leads/add-domain-block-list",
		.repeatable = true,
		.urgent = true,
		.count_field = "totalDomainAdded",
		.params = PARAMS({"domains", SL_IN_BODY, SL_TEXTS, .required = true, .wire = "domain_block_list", .max_elements = 1000, .read = sl_domain_read},
						 {"client_id", SL_IN_BODY, SL_BIGINT}),
	},

	/* ---- webhooks ---- */
	{
		.name = "list_webhooks",
		.kind = SL_LISTING,
		.method = SL_GET,
		.path = "/campaigns/{campaign_id}/webhooks",
		.repeatable = true,
		.shape = &webhook_shape,
		.params = PARAMS(CAMPAIGN_ID),
	},
	{
		.name = "create_campaign_webhook",
		.internal = true,
		.kind = SL_ACTION,
		.method = SL_POST,
		.path = "/campaigns/{campaign_id}/webhooks",
		/* Sent twice, it makes two webhooks. The answer may lack the id, which the listing tells then. */
		.repeatable = false,
		.fixed_body = "\"id\":null",
		.params = PARAMS(CAMPAIGN_ID,
						 {"name", SL_IN_BODY, SL_TEXT, .required = true},
						 {"webhook_url", SL_IN_BODY, SL_TEXT, .required = true},
						 {"event_types", SL_IN_BODY, SL_TEXTS, .required = true},
						 {"categories", SL_IN_BODY, SL_TEXTS}),
	},
	{
		.name = "update_campaign_webhook",
		.internal = true,
		.kind = SL_ACTION,
		.method = SL_POST,
		.path = "/campaigns/{campaign_id}/webhooks",
		.repeatable = true,
		.params = PARAMS(CAMPAIGN_ID,
						 {"id", SL_IN_BODY, SL_BIGINT, .required = true},
						 {"name", SL_IN_BODY, SL_TEXT, .required = true},
						 {"webhook_url", SL_IN_BODY, SL_TEXT, .required = true},
						 {"event_types", SL_IN_BODY, SL_TEXTS, .required = true},
						 {"categories", SL_IN_BODY, SL_TEXTS}),
	},
	{
		.name = "delete_campaign_webhook",
		.internal = true,
		.kind = SL_ACTION,
		.method = SL_DELETE,
		.path = "/campaigns/{campaign_id}/webhooks",
		.repeatable = true,
		.params = PARAMS(CAMPAIGN_ID,
						 {"id", SL_IN_BODY, SL_BIGINT, .required = true}),
	},
	{
		.name = "delete_campaign_webhook",
		.internal = true,
		.kind = SL_ACTION,
		.method = SL_DELETE,
		.path = "/campaigns/{campaign_id}/webhooks/{webhook_id}",
		.repeatable = true,
		.params = PARAMS(CAMPAIGN_ID,
						 {"webhook_id", SL_IN_PATH, SL_BIGINT, .required = true}),
	},
	{
		.name = "create_webhook",
		.internal = true,
		.kind = SL_ACTION,
		.method = SL_POST,
		.path = "/webhook/create",
		.repeatable = false,
		.makes_an_id = true,
		.params = PARAMS({"name", SL_IN_BODY, SL_TEXT, .required = true},
						 {"webhook_url", SL_IN_BODY, SL_TEXT, .required = true},
						 {"association_type", SL_IN_BODY, SL_TEXT, .required = true},
						 {"client_id", SL_IN_BODY, SL_BIGINT},
						 {"event_type_map", SL_IN_BODY, SL_OBJECT, .required = true},
						 {"category_id_map", SL_IN_BODY, SL_OBJECT}),
	},
	{
		.name = "update_webhook",
		.internal = true,
		.kind = SL_ACTION,
		.method = SL_PUT,
		.path = "/webhook/update/{webhook_id}",
		.repeatable = true,
		.params = PARAMS({"webhook_id", SL_IN_PATH, SL_BIGINT, .required = true},
						 {"name", SL_IN_BODY, SL_TEXT, .required = true},
						 {"webhook_url", SL_IN_BODY, SL_TEXT, .required = true},
						 {"event_types", SL_IN_BODY, SL_TEXTS, .required = true},
						 {"categories", SL_IN_BODY, SL_TEXTS}),
	},
	{
		.name = "delete_webhook",
		.internal = true,
		.kind = SL_ACTION,
		.method = SL_DELETE,
		.path = "/webhook/delete",
		.repeatable = true,
		.params = PARAMS({"id", SL_IN_BODY, SL_BIGINT, .required = true}),
	},
	{
		.name = "delete_webhook",
		.internal = true,
		.kind = SL_ACTION,
		.method = SL_DELETE,
		.path = "/webhook/delete/{webhook_id}",
		.repeatable = true,
		.params = PARAMS({"webhook_id", SL_IN_PATH, SL_BIGINT, .required = true}),
	},
	{.name = NULL},
};
/* clang-format on */

int
sl_endpoint_param_count(const SlEndpoint *endpoint)
{
	int n = 0;

	while (endpoint->params[n].name != NULL)
		n++;
	return n;
}

int
sl_endpoint_param(const SlEndpoint *endpoint, const char *name)
{
	for (int i = 0; endpoint->params[i].name != NULL; i++)
		if (strcmp(endpoint->params[i].name, name) == 0)
			return i;
	return -1;
}

/* Are these all parameters of the endpoint, and all that it requires among them? */
static bool
fits(const SlEndpoint *endpoint, const char *const *params, int n_params)
{
	int required = 0;

	for (int i = 0; endpoint->params[i].name != NULL; i++)
		required += endpoint->params[i].required;
	for (int i = 0; i < n_params; i++)
	{
		int param = sl_endpoint_param(endpoint, params[i]);

		if (param < 0 || endpoint->params[param].found_out)
			return false;
		required -= endpoint->params[param].required;
	}
	return required == 0;
}

const SlEndpoint *
sl_endpoint_find(const char *name, const char *const *params, int n_params)
{
	for (const SlEndpoint *endpoint = sl_endpoints; endpoint->name != NULL; endpoint++)
		if (strcmp(endpoint->name, name) == 0 && fits(endpoint, params, n_params))
			return endpoint;
	return NULL;
}

const SlEndpoint *
sl_endpoint_named(const char *name)
{
	for (const SlEndpoint *endpoint = sl_endpoints; endpoint->name != NULL; endpoint++)
		if (strcmp(endpoint->name, name) == 0)
			return endpoint;
	return NULL;
}
