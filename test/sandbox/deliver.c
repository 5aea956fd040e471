/*
 * deliver.c
 *		Sends webhooks: builds the payload, posts it, and tries again when it isn't taken.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <curl/curl.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "sandbox.h"

typedef struct Delivery
{
	struct Delivery	  *next;
	CURL			  *easy; /* under way */
	struct curl_slist *headers;
	char			  *url, *body, *event, *level;
	cJSON			  *more_headers;
	char			   id[48];
	int64_t			   campaign, due_ms;
	int				   attempt, status;
	bool			   done, failed;
} Delivery;

static CURLM	*multi = NULL;
static Delivery *first = NULL, **last = &first;
static int		 under_way = 0;
static int64_t	 n_ids = 0;

void
deliver_init(void)
{
	curl_global_init(CURL_GLOBAL_DEFAULT);
	multi = curl_multi_init();
}

void *
deliver_multi(void)
{
	return multi;
}

static void
forget(Delivery *delivery)
{
	if (delivery->easy != NULL)
	{
		curl_multi_remove_handle(multi, delivery->easy);
		curl_easy_cleanup(delivery->easy);
	}
	curl_slist_free_all(delivery->headers);
	cJSON_Delete(delivery->more_headers);
	free(delivery->url);
	free(delivery->body);
	free(delivery->event);
	free(delivery->level);
	free(delivery);
}

void
deliver_reset(void)
{
	while (first != NULL)
	{
		Delivery *next = first->next;

		forget(first);
		first = next;
	}
	last = &first;
	under_way = 0;
}

int
deliver_pending(void)
{
	int n = 0;

	for (Delivery *delivery = first; delivery != NULL; delivery = delivery->next)
		n += !delivery->done;
	return n;
}

static void
new_id(Delivery *delivery)
{
	snprintf(delivery->id, sizeof(delivery->id), "req-%lld-%lld", (long long) time(NULL),
			 (long long) ++n_ids);
}

static Delivery *
queue(const char *url, const char *body, const char *event, const char *level, int64_t campaign)
{
	Delivery *delivery = calloc(1, sizeof(Delivery));

	delivery->url = strdup(url);
	delivery->body = strdup(body);
	delivery->event = strdup(event);
	delivery->level = strdup(level);
	delivery->campaign = campaign;
	delivery->due_ms = now_ms();
	new_id(delivery);
	*last = delivery;
	last = &delivery->next;
	return delivery;
}

/* ---- payloads ---- */

static const char *const time_field[][2] = {
	{"EMAIL_SENT", "time_sent"},	 {"FIRST_EMAIL_SENT", "time_sent"},
	{"EMAIL_OPEN", "time_opened"},	 {"EMAIL_LINK_CLICK", "time_clicked"},
	{"EMAIL_REPLY", "time_replied"}, {"EMAIL_BOUNCE", "time_sent"},
};

static void
add_message(cJSON *payload, const char *name, const char *id, const char *html, const char *text,
			const char *time)
{
	cJSON *message = cJSON_AddObjectToObject(payload, name);

	cJSON_AddStringToObject(message, "message_id", id);
	cJSON_AddStringToObject(message, "html", html);
	cJSON_AddStringToObject(message, "text", text);
	cJSON_AddStringToObject(message, "time", time);
}

/* What e-mail events have: the lead's two ids, the addresses, the e-mail. */
static void
add_email(cJSON *payload, const char *type, const cJSON *row, const char *stamp, const char *stats)
{
	const cJSON *lead = cJSON_GetObjectItem(row, "lead");
	const char	*email = text_of(lead, "email");
	char		 message_id[96];

	snprintf(message_id, sizeof(message_id), "<sw-%s@send.example>", stats);
	cJSON_AddStringToObject(payload, "stats_id", stats);
	add_id(payload, "sl_email_lead_id", number_of(lead, "id", 0), true);
	add_id(payload, "sl_email_lead_map_id", number_of(row, "campaign_lead_map_id", 0), false);
	cJSON_AddStringToObject(payload, "from_email", "sam@send.example");
	cJSON_AddStringToObject(payload, "to_email", email);
	cJSON_AddStringToObject(payload, "to_name", text_of(lead, "first_name") ?: "");
	cJSON_AddStringToObject(payload, "subject", "Hello");
	cJSON_AddNumberToObject(payload, "sequence_number", 1);
	if (strcmp(type, "EMAIL_OPEN") != 0)
		cJSON_AddStringToObject(payload, "message_id", message_id);
	add_message(payload, "sent_message", message_id, "<div>Hello</div>", "Hello", stamp);
	for (size_t i = 0; i < sizeof(time_field) / sizeof(time_field[0]); i++)
		if (strcmp(time_field[i][0], type) == 0)
			cJSON_AddStringToObject(payload, time_field[i][1], stamp);
	if (strcmp(type, "EMAIL_LINK_CLICK") == 0)
	{
		const char *link = "https://send.example/pricing";

		cJSON_AddItemToObject(payload, "link_clicked", cJSON_CreateStringArray(&link, 1));
		cJSON_AddItemToObject(payload, "link_details", cJSON_CreateStringArray(&link, 1));
	}
	if (strcmp(type, "EMAIL_REPLY") == 0)
	{
		cJSON *who = cJSON_AddObjectToObject(payload, "leadCorrespondence");

		snprintf(message_id, sizeof(message_id), "<reply-%s@mail.example>", stats);
		cJSON_AddStringToObject(payload, "sl_lead_email", email);
		cJSON_AddStringToObject(payload, "reply_body", "<div>Yes</div>");
		cJSON_AddStringToObject(payload, "preview_text", "Yes");
		cJSON_AddNumberToObject(payload, "reply_category", 1);
		add_message(payload, "reply_message", message_id, "<div>Yes</div>", "Yes", stamp);
		cJSON_AddStringToObject(who, "targetLeadEmail", email);
		cJSON_AddStringToObject(who, "replyReceivedFrom", "bo@clinic.example");
		cJSON_AddStringToObject(who, "repliedCompanyDomain", "SameCompany");
	}
	if (strcmp(type, "EMAIL_BOUNCE") == 0)
		cJSON_AddTrueToObject(payload, "is_bounced");
}

/* What the other events have. */
static void
add_lead(cJSON *payload, const char *type, const cJSON *row, int64_t bytes, const char *stats)
{
	const cJSON *lead = cJSON_GetObjectItem(row, "lead");

	cJSON_AddStringToObject(payload, "lead_email", text_of(lead, "email"));
	cJSON_AddStringToObject(payload, "lead_name", text_of(lead, "first_name") ?: "");
	cJSON_AddStringToObject(payload, "to_email", text_of(lead, "email"));
	cJSON_AddStringToObject(payload, "to_name", text_of(lead, "first_name") ?: "");
	if (strcmp(type, "LEAD_CATEGORY_UPDATED") == 0)
	{
		cJSON *entry = cJSON_CreateObject();
		size_t size = bytes > 0 ? bytes : 16;
		char  *text = malloc(size + 1);

		memset(text, 'x', size);
		text[size] = '\0';
		cJSON_AddStringToObject(entry, "stats_id", stats);
		cJSON_AddStringToObject(entry, "type", "SENT");
		cJSON_AddStringToObject(entry, "email_body", text);
		free(text);
		add_id(payload, "lead_id", number_of(lead, "id", 0), false);
		cJSON_AddStringToObject(payload, "from_email", "sam@send.example");
		cJSON_AddItemToArray(cJSON_AddArrayToObject(payload, "history"), entry);
	}
	if (strcmp(type, "MANUAL_STEP_REACHED") == 0)
	{
		add_id(payload, "lead_id", number_of(lead, "id", 0), true);
		cJSON_AddNumberToObject(payload, "current_sequence_number", 2);
	}
}

static bool
is_email_event(const char *type)
{
	for (size_t i = 0; i < sizeof(time_field) / sizeof(time_field[0]); i++)
		if (strcmp(time_field[i][0], type) == 0)
			return true;
	return false;
}

static cJSON *
classic_payload(Workspace *workspace, const char *type, int64_t campaign_id, int64_t lead_id,
				const cJSON *webhook, int64_t bytes)
{
	cJSON		   *payload = cJSON_CreateObject();
	cJSON		   *campaign = find_by(workspace->campaigns, "id", campaign_id);
	cJSON		   *row = lead_id != 0 ? member_copy(workspace, campaign_id, lead_id) : NULL;
	const char	   *name = campaign != NULL ? text_of(campaign, "name") : NULL;
	char			stamp[64], stats[64];
	struct timespec now;
	struct tm		tm;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(stamp + strlen(stamp), sizeof(stamp) - strlen(stamp), ".%03ld+00:00",
			 now.tv_nsec / 1000000);
	snprintf(stats, sizeof(stats), "7b27fb71-588d-4afa-b185-%012llx", (long long) ++n_ids);

	cJSON_AddStringToObject(payload, "event_type", type);
	cJSON_AddNumberToObject(payload, "webhook_id", number_of(webhook, "id", 0));
	cJSON_AddStringToObject(payload, "webhook_name", text_of(webhook, "name") ?: "");
	cJSON_AddStringToObject(payload, "webhook_url", text_of(webhook, "webhook_url") ?: "");
	cJSON_AddStringToObject(payload, "secret_key", "5f0c0000-sandbox-secret");
	if (campaign_id != 0)
		cJSON_AddNumberToObject(payload, "campaign_id", campaign_id);
	if (name != NULL)
	{
		cJSON_AddStringToObject(payload, "campaign_name", name);
		cJSON_AddStringToObject(payload, "campaign_status", text_of(campaign, "status"));
	}
	cJSON_AddNullToObject(payload, "client_id");
	if (row != NULL && is_email_event(type))
		add_email(payload, type, row, stamp, stats);
	else if (row != NULL)
		add_lead(payload, type, row, bytes, stats);
	if (strcmp(type, "CAMPAIGN_STATUS_CHANGED") != 0 && strcmp(type, "MANUAL_STEP_REACHED") != 0)
		cJSON_AddStringToObject(payload, "event_timestamp", stamp);
	cJSON_AddStringToObject(payload, "app_url", "https://app.smartlead.ai/app/master-inbox");
	cJSON_AddStringToObject(payload, "description", "An event of the sandbox");
	cJSON_AddStringToObject(cJSON_AddObjectToObject(payload, "metadata"), "webhook_created_at",
							"2026-02-26T10:19:49.535Z");
	cJSON_Delete(row);
	return payload;
}

/* The same event in the other envelopes of Smartlead's pages. */
static cJSON *
in_envelope(cJSON *classic)
{
	cJSON *payload;

	if (switch_is("webhook_envelope", "classic"))
		return classic;
	payload = cJSON_CreateObject();
	if (switch_is("webhook_envelope", "evt"))
	{
		char id[32];

		snprintf(id, sizeof(id), "evt_%lld", (long long) ++n_ids);
		cJSON_AddStringToObject(payload, "id", id);
		cJSON_AddStringToObject(payload, "type", text_of(classic, "event_type"));
		cJSON_AddStringToObject(payload, "created_at",
								text_of(classic, "event_timestamp") ?: "2026-04-01T08:00:00Z");
		cJSON_AddItemToObject(payload, "data", classic);
		return payload;
	}
	if (switch_is("webhook_envelope", "replied"))
	{
		cJSON_AddStringToObject(payload, "event_type", text_of(classic, "event_type"));
		cJSON_AddStringToObject(payload, "lead_email",
								text_of(classic, "to_email") ?: "nobody@x.example");
		cJSON_AddStringToObject(payload, "email_account", "sam@send.example");
		cJSON_AddStringToObject(payload, "message", "Yes");
		cJSON_AddStringToObject(payload, "timestamp",
								text_of(classic, "event_timestamp") ?: "2026-04-01T08:00:00Z");
	}
	else
	{
		cJSON *lead = cJSON_AddObjectToObject(payload, "lead");

		cJSON_AddStringToObject(payload, "event", text_of(classic, "event_type"));
		cJSON_AddStringToObject(payload, "timestamp",
								text_of(classic, "event_timestamp") ?: "2026-04-01T08:00:00Z");
		cJSON_AddNumberToObject(payload, "campaign_id", number_of(classic, "campaign_id", 0));
		cJSON_AddNumberToObject(payload, "lead_id", number_of(classic, "sl_email_lead_id", 0));
		cJSON_AddNumberToObject(payload, "sequence_number", 1);
		cJSON_AddStringToObject(lead, "email", text_of(classic, "to_email") ?: "");
	}
	cJSON_Delete(classic);
	return payload;
}

/* ---- to whom ---- */

static bool
listens_to(const cJSON *webhook, const char *type)
{
	const cJSON *wanted;

	if (cJSON_IsTrue(cJSON_GetObjectItem(cJSON_GetObjectItem(webhook, "event_type_map"), type)))
		return true;
	cJSON_ArrayForEach (wanted, cJSON_GetObjectItem(webhook, "event_types"))
	{
		if (strcmp(wanted->valuestring, type) == 0)
			return true;
	}
	return false;
}

static bool
category_passes(const cJSON *webhook, const char *type, const cJSON *overrides)
{
	const cJSON *names = cJSON_GetObjectItem(webhook, "categories");
	const char	*category = text_of(overrides, "category");
	const cJSON *name;

	if (strcmp(type, "LEAD_CATEGORY_UPDATED") != 0 || cJSON_GetArraySize(names) == 0 ||
		category == NULL)
		return true;
	cJSON_ArrayForEach (name, names)
	{
		if (strcmp(name->valuestring, category) == 0)
			return true;
	}
	return false;
}

static bool
at_level(const cJSON *webhook, const char *level, Workspace *workspace, int64_t campaign_id)
{
	if (strcmp(text_of(webhook, "level"), level) != 0 ||
		!cJSON_IsTrue(cJSON_GetObjectItem(webhook, "is_active")))
		return false;
	if (strcmp(level, "campaign") == 0)
		return number_of(webhook, "email_campaign_id", 0) == campaign_id;
	if (strcmp(level, "client") == 0)
		return number_of(webhook, "client_id", -1) ==
			   number_of(find_by(workspace->campaigns, "id", campaign_id), "client_id", -2);
	return true;
}

static void
send_to(Workspace *workspace, const cJSON *webhook, const char *level, const char *type,
		int64_t campaign_id, int64_t lead_id, const cJSON *overrides, int64_t bytes)
{
	cJSON		*payload = classic_payload(workspace, type, campaign_id, lead_id, webhook, bytes);
	const cJSON *override;
	char		*body;

	cJSON_ArrayForEach (override, overrides)
	{
		set_item(payload, override->string, cJSON_Duplicate(override, true));
	}
	payload = in_envelope(payload);
	body = cJSON_PrintUnformatted(payload);
	queue(text_of(webhook, "webhook_url"), body, type, level, campaign_id);
	if (switch_on("webhook_repeat_new_id"))
		queue(text_of(webhook, "webhook_url"), body, type, level, campaign_id);
	if (switch_on("webhook_reorder"))
		for (Delivery *delivery = first; delivery != NULL; delivery = delivery->next)
			if (delivery->next == NULL)
				delivery->due_ms += n_ids % 2 ? 50 : 0;
	free(body);
	cJSON_Delete(payload);
}

/* The highest level that has a webhook for the event takes it alone. */
void
deliver_event(Workspace *workspace, const char *type, int64_t campaign_id, int64_t lead_id,
			  const cJSON *overrides, int64_t bytes)
{
	static const char *const levels[] = {"user", "client", "campaign"};

	for (int i = 0; i < 3; i++)
	{
		bool		 taken = false;
		const cJSON *webhook;

		cJSON_ArrayForEach (webhook, workspace->webhooks)
		{
			if (!at_level(webhook, levels[i], workspace, campaign_id) || !listens_to(webhook, type))
				continue;
			taken = true;
			if (category_passes(webhook, type, overrides))
				send_to(workspace, webhook, levels[i], type, campaign_id, lead_id, overrides,
						bytes);
		}
		if (taken)
			return;
	}
}

void
deliver_test_event(Workspace *workspace, cJSON *webhook)
{
	send_to(workspace, webhook, "campaign", "EMAIL_SENT",
			number_of(webhook, "email_campaign_id", 0), 0, NULL, 0);
}

void
deliver_raw(const char *url, const char *body, const cJSON *headers)
{
	queue(url, body, "raw", "raw", 0)->more_headers = cJSON_Duplicate(headers, true);
}

int
deliver_retrigger(Workspace *workspace, int64_t campaign_id)
{
	int n = 0;

	for (Delivery *delivery = first; delivery != NULL; delivery = delivery->next)
		if (delivery->failed && delivery->campaign == campaign_id)
		{
			delivery->failed = delivery->done = false;
			delivery->attempt = 0;
			delivery->due_ms = now_ms();
			new_id(delivery);
			n++;
		}
	return n;
}

/* ---- under way ---- */

static size_t
swallow(char *data, size_t size, size_t count, void *arg)
{
	return size * count;
}

static void
add_header(Delivery *delivery, const char *name, const char *value)
{
	char line[512];

	snprintf(line, sizeof(line), "%s: %s", name, value);
	delivery->headers = curl_slist_append(delivery->headers, line);
}

static void
add_signature(Delivery *delivery)
{
	const char	 *secret = switch_text("webhook_signing_secret");
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned int  length;
	char		  hex[80] = "sha256=";

	if (secret[0] == '\0')
		return;
	HMAC(EVP_sha256(), secret, (int) strlen(secret), (unsigned char *) delivery->body,
		 strlen(delivery->body), digest, &length);
	for (unsigned int i = 0; i < length; i++)
		snprintf(hex + 7 + 2 * i, 3, "%02x", digest[i]);
	add_header(delivery, "X-Smartlead-Signature", hex);
}

static void
start(Delivery *delivery)
{
	const cJSON *header;

	delivery->easy = curl_easy_init();
	delivery->attempt++;
	curl_slist_free_all(delivery->headers);
	delivery->headers = NULL;
	add_header(delivery, "Content-Type", "application/json");
	add_header(delivery, "Expect", "");
	if (strcmp(delivery->level, "raw") != 0)
	{
		add_header(delivery, "X-Request-Id", delivery->id);
		add_header(delivery, "X-Webhook-Level", delivery->level);
		add_signature(delivery);
	}
	cJSON_ArrayForEach (header, delivery->more_headers)
	{
		add_header(delivery, header->string, header->valuestring);
	}
	curl_easy_setopt(delivery->easy, CURLOPT_URL, delivery->url);
	curl_easy_setopt(delivery->easy, CURLOPT_POSTFIELDS, delivery->body);
	curl_easy_setopt(delivery->easy, CURLOPT_POSTFIELDSIZE_LARGE,
					 (curl_off_t) strlen(delivery->body));
	curl_easy_setopt(delivery->easy, CURLOPT_HTTPHEADER, delivery->headers);
	curl_easy_setopt(delivery->easy, CURLOPT_USERAGENT, "Smartlead-Webhooks/1.0 (sandbox)");
	curl_easy_setopt(delivery->easy, CURLOPT_TIMEOUT_MS, 30000L);
	curl_easy_setopt(delivery->easy, CURLOPT_PROXY, "");
	curl_easy_setopt(delivery->easy, CURLOPT_WRITEFUNCTION, swallow);
	curl_easy_setopt(delivery->easy, CURLOPT_PRIVATE, delivery);
	curl_multi_add_handle(multi, delivery->easy);
	under_way++;
}

/* The wait before the next attempt, from the switch's list; -1: there is none. */
static int64_t
retry_delay(int attempt)
{
	const char *list = switch_text("webhook_retry_ms");

	for (int i = 1; list[0] != '\0'; i++)
	{
		if (i == attempt)
			return atoll(list);
		list = strchr(list, ',');
		if (list == NULL)
			break;
		list++;
	}
	return -1;
}

static void
end(Delivery *delivery, CURLcode code)
{
	long	status = 0;
	int64_t delay;

	curl_easy_getinfo(delivery->easy, CURLINFO_RESPONSE_CODE, &status);
	curl_multi_remove_handle(multi, delivery->easy);
	curl_easy_cleanup(delivery->easy);
	delivery->easy = NULL;
	under_way--;
	delivery->status = code == CURLE_OK ? (int) status : 0;
	if (status / 100 == 2 && code == CURLE_OK)
	{
		delivery->done = true;
		return;
	}
	delay = retry_delay(delivery->attempt);
	delivery->done = delivery->failed = delay < 0;
	delivery->due_ms = now_ms() + delay;
	if (switch_on("webhook_new_id_on_retry"))
		new_id(delivery);
}

void
deliver_run(void)
{
	int64_t	 now = now_ms();
	int		 running;
	CURLMsg *message;

	for (Delivery *delivery = first; delivery != NULL; delivery = delivery->next)
		if (!delivery->done && delivery->easy == NULL && delivery->due_ms <= now &&
			under_way < switch_number("webhook_concurrency"))
			start(delivery);
	curl_multi_perform(multi, &running);
	while ((message = curl_multi_info_read(multi, &running)) != NULL)
	{
		char *delivery;

		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &delivery);
		if (message->msg == CURLMSG_DONE)
			end((Delivery *) delivery, message->data.result);
	}
}

int64_t
deliver_next_ms(void)
{
	int64_t next = INT64_MAX;

	for (Delivery *delivery = first; delivery != NULL; delivery = delivery->next)
		if (!delivery->done && delivery->easy == NULL && delivery->due_ms < next &&
			under_way < switch_number("webhook_concurrency"))
			next = delivery->due_ms;
	return next;
}

cJSON *
deliver_dump(void)
{
	cJSON *list = cJSON_CreateArray();

	for (Delivery *delivery = first; delivery != NULL; delivery = delivery->next)
	{
		cJSON *row = cJSON_CreateObject();

		cJSON_AddStringToObject(row, "id", delivery->id);
		cJSON_AddStringToObject(row, "event", delivery->event);
		cJSON_AddStringToObject(row, "level", delivery->level);
		cJSON_AddNumberToObject(row, "attempt", delivery->attempt);
		cJSON_AddNumberToObject(row, "status", delivery->status);
		cJSON_AddBoolToObject(row, "done", delivery->done);
		cJSON_AddBoolToObject(row, "failed", delivery->failed);
		cJSON_AddItemToArray(list, row);
	}
	return list;
}
