/*
 * state.c
 *		The seeds: what each workspace holds after a reset. Ids and times are fixed.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sandbox.h"

#define TEN_THOUSAND 600001
#define BIG 600002

static const char *const campaigns_alpha =
	"[{\"id\":600002,\"user_id\":59646,\"created_at\":\"2026-03-20T09:00:00.000Z\",\"updated_at\":"
	"\"2026-03-20T09:00:00.000Z\",\"status\":\"PAUSED\",\"name\":\"Very many leads\","
	"\"track_settings\":[],\"scheduler_cron_value\":null,\"min_time_btwn_emails\":10,"
	"\"max_leads_per_day\":1000,\"stop_lead_settings\":\"REPLY_TO_AN_EMAIL\","
	"\"schedule_start_time\":null,\"enable_ai_esp_matching\":false,\"send_as_plain_text\":false,"
	"\"follow_up_percentage\":100,\"unsubscribe_text\":null,\"parent_campaign_id\":null,"
	"\"client_id\":null},"
	"{\"id\":600001,\"user_id\":59646,\"created_at\":\"2026-03-19T09:00:00.000Z\",\"updated_at\":"
	"\"2026-03-19T09:00:00.000Z\",\"status\":\"ACTIVE\",\"name\":\"Ten thousand leads\","
	"\"track_settings\":[],\"scheduler_cron_value\":{\"tz\":\"UTC\",\"days\":[1,2,3,4,5],"
	"\"startHour\":\"08:00\",\"endHour\":\"18:00\"},\"min_time_btwn_emails\":10,"
	"\"max_leads_per_day\":1000,\"stop_lead_settings\":\"REPLY_TO_AN_EMAIL\","
	"\"schedule_start_time\":\"2026-03-23T08:00:00.000Z\",\"enable_ai_esp_matching\":true,"
	"\"send_as_plain_text\":false,\"follow_up_percentage\":100,\"unsubscribe_text\":null,"
	"\"parent_campaign_id\":null,\"client_id\":null},"
	"{\"id\":552100,\"user_id\":59646,\"created_at\":\"2026-03-10T12:00:00.000Z\",\"updated_at\":"
	"\"2026-03-11T12:00:00.000Z\",\"status\":\"PAUSED\",\"name\":\"Agency: garden centres\","
	"\"track_settings\":[\"DONT_LINK_CLICK\",\"DONT_REPLY_TO_AN_EMAIL\"],\"scheduler_cron_value\":"
	"null,\"min_time_btwn_emails\":15,\"max_leads_per_day\":40,\"stop_lead_settings\":"
	"\"CLICK_ON_A_LINK\",\"schedule_start_time\":null,\"enable_ai_esp_matching\":false,"
	"\"send_as_plain_text\":true,\"follow_up_percentage\":60,\"unsubscribe_text\":\"No more, "
	"please\",\"parent_campaign_id\":null,\"client_id\":6},"
	"{\"id\":551900,\"user_id\":59646,\"created_at\":\"2026-03-05T12:00:00.000Z\",\"updated_at\":"
	"\"2026-03-05T12:00:00.000Z\",\"status\":\"DRAFTED\",\"name\":\"Autumn caf\\u00e9s "
	"\\u266a\",\"track_settings\":\"\",\"scheduler_cron_value\":null,\"min_time_btwn_emails\":"
	"\"20\","
	"\"max_leads_per_day\":\"100\",\"stop_lead_settings\":\"REPLY_TO_AN_EMAIL\","
	"\"schedule_start_time\":null,\"enable_ai_esp_matching\":false,\"send_as_plain_text\":false,"
	"\"follow_up_percentage\":\"100\",\"unsubscribe_text\":null,\"parent_campaign_id\":null,"
	"\"client_id\":null},"
	"{\"id\":549769,\"user_id\":59646,\"created_at\":\"2026-03-02T09:00:00.000Z\",\"updated_at\":"
	"\"2026-03-02T09:00:00.000Z\",\"status\":\"ACTIVE\",\"name\":\"Spring dentists: opened\","
	"\"track_settings\":[\"DONT_EMAIL_OPEN\"],\"scheduler_cron_value\":null,"
	"\"min_time_btwn_emails\":20,\"max_leads_per_day\":100,\"stop_lead_settings\":"
	"\"REPLY_TO_AN_EMAIL\",\"schedule_start_time\":null,\"enable_ai_esp_matching\":false,"
	"\"send_as_plain_text\":false,\"follow_up_percentage\":100,\"unsubscribe_text\":null,"
	"\"parent_campaign_id\":549768,\"client_id\":null},"
	"{\"id\":549768,\"user_id\":59646,\"created_at\":\"2026-03-02T08:15:30.120Z\",\"updated_at\":"
	"\"2026-03-02T08:15:30.120Z\",\"status\":\"ACTIVE\",\"name\":\"Spring dentists\","
	"\"track_settings\":[\"DONT_EMAIL_OPEN\"],\"scheduler_cron_value\":{\"tz\":\"Europe/Berlin\","
	"\"days\":[1,2,3,4,5],\"startHour\":\"09:00\",\"endHour\":\"17:00\"},\"min_time_btwn_emails\":"
	"20,\"max_leads_per_day\":100,\"stop_lead_settings\":\"REPLY_TO_AN_EMAIL\","
	"\"schedule_start_time\":null,\"enable_ai_esp_matching\":false,\"send_as_plain_text\":false,"
	"\"follow_up_percentage\":100,\"unsubscribe_text\":null,\"parent_campaign_id\":null,"
	"\"client_id\":null,\"tags\":[{\"tag_id\":7,\"tag_name\":\"dach\",\"tag_color\":\"#F5B1FC\"}],"
	"\"warmup_score\":9}]";

static const char *const leads_alpha =
	"[{\"id\":3499513771,\"first_name\":\"Ada\",\"last_name\":\"Okoro\",\"email\":"
	"\"ada@clinic.example\",\"created_at\":\"2026-02-11T10:01:02.785Z\",\"phone_number\":\"--\","
	"\"company_name\":\"Clinic\",\"website\":\"https://clinic.example\",\"location\":\"Lagos\","
	"\"custom_fields\":{\"title\":\"CEO\"},\"linkedin_profile\":\"\",\"company_url\":null,"
	"\"is_unsubscribed\":false,\"unsubscribed_client_id_map\":{}},"
	"{\"id\":3499513772,\"first_name\":\"Bj\\u00f6rn\",\"last_name\":\"\\u00c5kesson\",\"email\":"
	"\"bjorn@tand.example\",\"created_at\":\"2026-02-11T10:01:03.000Z\",\"phone_number\":"
	"46701234567,"
	"\"company_name\":\"Tand & "
	"Co\",\"website\":null,\"location\":\"Malm\\u00f6\",\"custom_fields\":"
	"{\"title\":null,\"employees\":12,\"note\":\"likes \\ud834\\udd1e & \\\"quotes\\\"\"},"
	"\"linkedin_profile\":null,\"company_url\":null,\"is_unsubscribed\":false,"
	"\"unsubscribed_client_id_map\":{}},"
	"{\"id\":3499513773,\"first_name\":\"Chi\",\"last_name\":null,\"email\":\"chi@clinic.example\","
	"\"created_at\":\"2026-02-11T10:01:04.000Z\",\"phone_number\":null,\"company_name\":\"Clinic\","
	"\"website\":null,\"location\":null,\"custom_fields\":{},\"linkedin_profile\":null,"
	"\"company_url\":null,\"is_unsubscribed\":false,\"unsubscribed_client_id_map\":{}},"
	"{\"id\":3499513774,\"first_name\":\"Dora\",\"last_name\":\"Lind\",\"email\":"
	"\"dora+sales@smile.example\",\"created_at\":\"2026-02-11T10:01:05.000Z\",\"phone_number\":"
	"\"+1 555 0100\",\"company_name\":\"Smile "
	"Ltd\",\"website\":\"https://smile.example\",\"location\":"
	"\"Boston\",\"custom_fields\":{\"title\":\"Owner\",\"undefined\":\"\"},\"linkedin_profile\":"
	"\"https://linkedin.example/in/dora\",\"company_url\":\"https://smile.example\","
	"\"is_unsubscribed\":false,\"unsubscribed_client_id_map\":{},\"esp_score\":9007199254740993,"
	"\"weight\":0.12345678901234567},"
	"{\"id\":3499513775,\"first_name\":\"Emil\",\"last_name\":\"Novak\",\"email\":"
	"\"emil@gone.example\",\"created_at\":\"2026-02-11T10:01:06.000Z\",\"phone_number\":null,"
	"\"company_name\":\"--\",\"website\":null,\"location\":null,\"custom_fields\":{},"
	"\"linkedin_profile\":null,\"company_url\":null,\"is_unsubscribed\":true,"
	"\"unsubscribed_client_id_map\":{\"6\":true}},"
	"{\"id\":3871200001,\"first_name\":\"Fern\",\"last_name\":\"Gale\",\"email\":"
	"\"fern@garden.example\",\"created_at\":\"2026-03-10T12:30:00.000Z\",\"phone_number\":null,"
	"\"company_name\":\"Garden\",\"website\":null,\"location\":null,\"custom_fields\":{},"
	"\"linkedin_profile\":null,\"company_url\":null,\"is_unsubscribed\":false,"
	"\"unsubscribed_client_id_map\":{}}]";

static const char *const members_alpha =
	"[{\"map\":2433664091,\"campaign\":549768,\"lead\":3499513771,\"category\":1,\"status\":"
	"\"INPROGRESS\",\"created_at\":\"2026-03-03T07:00:00.000Z\",\"last_sent\":"
	"\"2026-03-04T09:00:00.000Z\",\"last_event\":\"2026-03-05T09:00:00.000Z\",\"mail\":[\"is_"
	"opened\","
	"\"is_replied\"]},"
	"{\"map\":2433664092,\"campaign\":549768,\"lead\":3499513772,\"category\":null,\"status\":"
	"\"INPROGRESS\",\"created_at\":\"2026-03-03T07:00:01.000Z\",\"last_sent\":"
	"\"2026-03-04T09:20:00.000Z\",\"last_event\":\"2026-03-04T09:25:00.000Z\",\"mail\":[\"is_"
	"opened\","
	"\"not_replied\"]},"
	"{\"map\":2433664093,\"campaign\":549768,\"lead\":3499513773,\"category\":null,\"status\":"
	"\"STARTED\",\"created_at\":\"2026-03-03T07:00:02.123456Z\",\"last_sent\":null,\"last_event\":"
	"null,\"mail\":[\"not_replied\"]},"
	"{\"map\":2433664094,\"campaign\":549768,\"lead\":3499513774,\"category\":3,\"status\":"
	"\"COMPLETED\",\"created_at\":\"2026-03-03T07:00:03+00:00\",\"last_sent\":"
	"\"2026-03-10T09:00:00.000Z\",\"last_event\":\"2026-03-11T09:00:00.000Z\",\"mail\":[\"is_"
	"opened\","
	"\"is_clicked\",\"is_replied\"]},"
	"{\"map\":2433664095,\"campaign\":549768,\"lead\":3499513775,\"category\":null,\"status\":"
	"\"STOPPED\",\"created_at\":\"2026-03-03T07:00:04.000Z\",\"last_sent\":"
	"\"2026-03-04T10:00:00.000Z\",\"last_event\":\"2026-03-04T11:00:00.000Z\",\"mail\":"
	"[\"is_unsubscribed\",\"not_replied\"]},"
	"{\"map\":2433664096,\"campaign\":552100,\"lead\":3871200001,\"category\":null,\"status\":"
	"\"PAUSED\",\"created_at\":\"2026-03-10T12:31:00.000Z\",\"last_sent\":null,\"last_event\":null,"
	"\"mail\":[\"not_replied\"]},"
	"{\"map\":2433664097,\"campaign\":552100,\"lead\":3499513771,\"category\":null,\"status\":"
	"\"STARTED\",\"created_at\":\"2026-03-10T12:32:00.000Z\",\"last_sent\":null,\"last_event\":"
	"null,"
	"\"mail\":[\"not_replied\"]}]";

static const char *const categories_seed =
	"[{\"id\":1,\"created_at\":\"2022-08-30T12:32:48.645Z\",\"name\":\"Interested\","
	"\"sentiment_type\":\"positive\"},"
	"{\"id\":2,\"created_at\":\"2022-08-30T12:32:48.645Z\",\"name\":\"Meeting Request\","
	"\"sentiment_type\":\"positive\"},"
	"{\"id\":3,\"created_at\":\"2022-08-30T12:32:48.645Z\",\"name\":\"Not Interested\","
	"\"sentiment_type\":\"negative\"},"
	"{\"id\":4,\"created_at\":\"2022-08-30T12:32:48.645Z\",\"name\":\"Do Not Contact\","
	"\"sentiment_type\":\"negative\"},"
	"{\"id\":5,\"created_at\":\"2022-08-30T12:32:48.645Z\",\"name\":\"Information Request\","
	"\"sentiment_type\":\"positive\"},"
	"{\"id\":6,\"created_at\":\"2022-08-30T12:32:48.645Z\",\"name\":\"Out Of Office\","
	"\"sentiment_type\":null},"
	"{\"id\":7,\"created_at\":\"2022-08-30T12:32:48.645Z\",\"name\":\"Wrong Person\","
	"\"sentiment_type\":null},"
	"{\"id\":91034,\"created_at\":\"2026-01-10T09:00:00.000Z\",\"name\":\"Call in May\","
	"\"sentiment_type\":\"neutral\"}]";

static const char *const clients_alpha =
	"[{\"id\":6,\"name\":\"Agency client\",\"email\":\"c@client.example\",\"uuid\":"
	"\"1e19fcb7-0000-4000-8000-000000000006\",\"created_at\":\"2025-08-25T04:24:04.656Z\",\"user_"
	"id\":"
	"59646,\"logo\":null,\"logo_url\":null,\"client_permision\":{\"permission\":"
	"[\"reply_master_inbox\"],\"retricted_category\":[]}}]";

static Workspace workspaces[4];
int64_t			 big_campaign_size = 0;

/* An e-mail account like its fellows; number 3 is broken, number 4 suspended. */
static cJSON *
make_account(int64_t id, int number, const char *type, const char *name, const char *address)
{
	cJSON *account = cJSON_CreateObject();
	cJSON *warmup = cJSON_CreateObject();
	char   text[128];

	cJSON_AddNumberToObject(account, "id", id);
	cJSON_AddStringToObject(account, "created_at", "2026-01-15T08:00:00.000Z");
	cJSON_AddStringToObject(account, "updated_at", "2026-02-15T08:00:00.000Z");
	cJSON_AddNumberToObject(account, "user_id", 59646);
	cJSON_AddStringToObject(account, "from_name", name);
	cJSON_AddStringToObject(account, "from_email", address);
	cJSON_AddStringToObject(account, "username", address);
	snprintf(text, sizeof(text), "s3cret-smtp-%lld", (long long) id);
	cJSON_AddStringToObject(account, "password", text);
	cJSON_AddStringToObject(account, "smtp_host", "smtp.send.example");
	cJSON_AddNumberToObject(account, "smtp_port", 587);
	cJSON_AddStringToObject(account, "smtp_port_type", "TLS");
	cJSON_AddNumberToObject(account, "message_per_day", 50);
	cJSON_AddStringToObject(account, "different_reply_to_address", "");
	cJSON_AddBoolToObject(account, "is_different_imap_account", false);
	cJSON_AddStringToObject(account, "imap_username", address);
	snprintf(text, sizeof(text), "s3cret-imap-%lld", (long long) id);
	cJSON_AddStringToObject(account, "imap_password", text);
	cJSON_AddStringToObject(account, "imap_host", "imap.send.example");
	cJSON_AddNumberToObject(account, "imap_port", 993);
	cJSON_AddStringToObject(account, "imap_port_type", "SSL");
	cJSON_AddNullToObject(account, "signature");
	cJSON_AddNullToObject(account, "custom_tracking_domain");
	cJSON_AddNullToObject(account, "bcc_email");
	cJSON_AddBoolToObject(account, "is_smtp_success", number != 3);
	cJSON_AddBoolToObject(account, "is_imap_success", number != 3);
	if (number == 3)
		cJSON_AddStringToObject(account, "smtp_failure_error", "Invalid login: 535 5.7.8");
	else
		cJSON_AddNullToObject(account, "smtp_failure_error");
	cJSON_AddNullToObject(account, "imap_failure_error");
	cJSON_AddStringToObject(account, "type", type);
	cJSON_AddNumberToObject(account, "daily_sent_count", number);
	if (number == 2)
		cJSON_AddNumberToObject(account, "client_id", 6);
	else
		cJSON_AddNullToObject(account, "client_id");
	cJSON_AddNumberToObject(account, "campaign_count", 0);
	cJSON_AddNumberToObject(account, "minTimeToWaitInMins", 5);
	cJSON_AddBoolToObject(account, "is_suspended", number == 4);
	cJSON_AddNumberToObject(warmup, "id", 7000 + number);
	cJSON_AddStringToObject(warmup, "status", number % 2 ? "ACTIVE" : "INACTIVE");
	cJSON_AddStringToObject(warmup, "warmup_reputation", "100%");
	cJSON_AddStringToObject(warmup, "warmup_key_id", "brass-sleep");
	cJSON_AddStringToObject(warmup, "total_sent_count", "40");
	cJSON_AddBoolToObject(warmup, "is_warmup_blocked", number == 3);
	cJSON_AddItemToObject(account, "warmup_details", warmup);
	cJSON_AddItemToObject(account, "campaigns_", cJSON_CreateArray()); /* ours, never sent */
	return account;
}

static void
use_in_campaign(cJSON *account, int64_t campaign)
{
	cJSON *campaigns = cJSON_GetObjectItem(account, "campaigns_");

	cJSON_AddItemToArray(campaigns, cJSON_CreateNumber(campaign));
	set_item(account, "campaign_count", cJSON_CreateNumber(cJSON_GetArraySize(campaigns)));
}

static cJSON *
accounts_alpha(void)
{
	cJSON *accounts = cJSON_CreateArray();

	cJSON_AddItemToArray(accounts, make_account(2907, 1, "SMTP", "Sam Sender", "sam@send.example"));
	cJSON_AddItemToArray(accounts, make_account(2908, 2, "GMAIL", "Sue", "sue@send.example"));
	cJSON_AddItemToArray(accounts, make_account(2909, 3, "SMTP", "Sid", "sid@broken.example"));
	cJSON_AddItemToArray(accounts, make_account(2910, 4, "OUTLOOK", "Sara", "sara@send.example"));
	cJSON_AddItemToArray(accounts, make_account(2911, 5, "GMAIL", "Sol", "sol@send.example"));
	cJSON_AddItemToObject(
		cJSON_GetArrayItem(accounts, 0), "tags",
		cJSON_Parse("[{\"tag_id\":7,\"tag_name\":\"dach\",\"tag_color\":\"#F5B1FC\"}]"));
	use_in_campaign(cJSON_GetArrayItem(accounts, 0), 549768);
	use_in_campaign(cJSON_GetArrayItem(accounts, 1), 549768);
	use_in_campaign(cJSON_GetArrayItem(accounts, 1), 552100);
	return accounts;
}

static cJSON *
accounts_many(int n)
{
	cJSON *accounts = cJSON_CreateArray();
	char   address[64];

	for (int i = 0; i < n; i++)
	{
		snprintf(address, sizeof(address), "box%03d@many.example", i);
		cJSON_AddItemToArray(accounts, make_account(5000 + i, 10 + i, "SMTP", "Box", address));
	}
	return accounts;
}

static void
clear(Workspace *workspace)
{
	cJSON_Delete(workspace->campaigns);
	cJSON_Delete(workspace->leads);
	cJSON_Delete(workspace->members);
	cJSON_Delete(workspace->accounts);
	cJSON_Delete(workspace->categories);
	cJSON_Delete(workspace->block_list);
	cJSON_Delete(workspace->clients);
	cJSON_Delete(workspace->webhooks);
	cJSON_Delete(workspace->generated);
	memset(workspace, 0, sizeof(*workspace));
}

static Workspace *
make(int i, const char *key, const char *name, const char *campaigns, const char *leads,
	 const char *members, const char *clients)
{
	Workspace *workspace = &workspaces[i];

	clear(workspace);
	workspace->key = key;
	workspace->key_name = name;
	workspace->campaigns = cJSON_Parse(campaigns);
	workspace->leads = cJSON_Parse(leads);
	workspace->members = cJSON_Parse(members);
	workspace->accounts = cJSON_CreateArray();
	workspace->categories = cJSON_Parse(categories_seed);
	workspace->block_list = cJSON_CreateArray();
	workspace->clients = cJSON_Parse(clients);
	workspace->webhooks = cJSON_CreateArray();
	workspace->generated = cJSON_CreateObject();
	workspace->next_id = 700001;
	return workspace;
}

/* What a double can't hold is kept as text all the way to the answer. */
static void
keep_exact_numbers(cJSON *leads)
{
	cJSON *dora = find_by(leads, "id", 3499513774);

	set_item(dora, "esp_score", cJSON_CreateRaw("9007199254740993"));
	set_item(dora, "weight", cJSON_CreateRaw("0.12345678901234567"));
}

static void
give_many_fields(cJSON *leads)
{
	cJSON *fields = cJSON_GetObjectItem(find_by(leads, "id", 3871200001), "custom_fields");
	char   name[16];

	for (int i = 0; i < 200; i++)
	{
		snprintf(name, sizeof(name), "field_%03d", i);
		cJSON_AddNumberToObject(fields, name, i);
	}
}

Workspace *
workspaces_reset(void)
{
	Workspace *alpha = make(0, "sandbox-key-alpha", "alpha", campaigns_alpha, leads_alpha,
							members_alpha, clients_alpha);
	Workspace *many;

	cJSON_Delete(alpha->accounts);
	alpha->accounts = accounts_alpha();
	keep_exact_numbers(alpha->leads);
	give_many_fields(alpha->leads);
	if (big_campaign_size == 0)
		cJSON_DeleteItemFromArray(alpha->campaigns, 0);
	make(
		1, "sandbox-key-beta", "beta",
		"[{\"id\":810001,\"user_id\":70001,\"created_at\":\"2026-05-01T08:00:00.000Z\","
		"\"updated_at\":\"2026-05-01T08:00:00.000Z\",\"status\":\"ACTIVE\",\"name\":\"Beta "
		"launch\",\"client_id\":null}]",
		"[{\"id\":4000000001,\"first_name\":\"Gus\",\"email\":\"gus@beta.example\",\"created_at\":"
		"\"2026-05-01T09:00:00.000Z\",\"custom_fields\":{},\"is_unsubscribed\":false}]",
		"[{\"map\":2600000001,\"campaign\":810001,\"lead\":4000000001,\"category\":null,\"status\":"
		"\"STARTED\",\"created_at\":\"2026-05-01T09:00:00.000Z\",\"last_sent\":null,\"last_event\":"
		"null,\"mail\":[\"not_replied\"]}]",
		"[]");
	many = make(2, "sandbox-key-many", "many", "[]", "[]", "[]", "[]");
	cJSON_Delete(many->accounts);
	many->accounts = accounts_many(250);
	make(3, "sandbox-key-noaccess", "noaccess", "[]", "[]", "[]", "[]");
	return alpha;
}

Workspace *
workspace_of(const char *key)
{
	for (int i = 0; key != NULL && i < 4; i++)
		if (strcmp(workspaces[i].key, key) == 0)
			return &workspaces[i];
	return NULL;
}

int64_t
generated_size(int64_t campaign_id)
{
	return campaign_id == TEN_THOUSAND ? 10000 : campaign_id == BIG ? big_campaign_size : 0;
}
