/*
 * accounts.c
 *		E-mail accounts, with their passwords, as Smartlead hands them out.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "sandbox.h"

/* In the listing passwords are base64. */
static void
encode(cJSON *account, const char *name)
{
	const char	 *plain = text_of(account, name);
	unsigned char coded[256];

	EVP_EncodeBlock(coded, (const unsigned char *) plain, (int) strlen(plain));
	set_item(account, name, cJSON_CreateString((char *) coded));
}

static bool
is_true(const Call *call, const char *name)
{
	const char *value = query_value(call, name);

	return value != NULL && strcmp(value, "true") == 0;
}

static cJSON *
account_copy(const Call *call, const cJSON *account)
{
	cJSON *copy = cJSON_Duplicate(account, true);
	cJSON *campaigns = cJSON_DetachItemFromObject(copy, "campaigns_");

	if (is_true(call, "fetch_campaigns"))
		cJSON_AddItemToObject(copy, "campaign_ids", campaigns);
	else
		cJSON_Delete(campaigns);
	if (!is_true(call, "fetch_tags"))
		cJSON_DeleteItemFromObjectCaseSensitive(copy, "tags");
	else if (cJSON_GetObjectItemCaseSensitive(copy, "tags") == NULL)
		cJSON_AddArrayToObject(copy, "tags");
	return copy;
}

static bool
in_campaign(const cJSON *account, int64_t campaign)
{
	const cJSON *id;

	cJSON_ArrayForEach (id, cJSON_GetObjectItem(account, "campaigns_"))
	{
		if ((int64_t) id->valuedouble == campaign)
			return true;
	}
	return false;
}

/* Does the account agree with a "true" or "false" of the query? */
static bool
agrees(const Call *call, const char *name, bool value)
{
	const char *wanted = query_value(call, name);

	return wanted == NULL || value == (strcmp(wanted, "true") == 0);
}

static bool
passes(const Call *call, const cJSON *account)
{
	const char	*type = query_value(call, "esp");
	const char	*username = query_value(call, "username");
	const char	*client = query_value(call, "client_id");
	const char	*warmup = query_value(call, "emailWarmupStatus");
	const cJSON *details = cJSON_GetObjectItem(account, "warmup_details");

	return agrees(call, "isInUse", number_of(account, "campaign_count", 0) > 0) &&
		   agrees(call, "isSmtpSuccess",
				  cJSON_IsTrue(cJSON_GetObjectItem(account, "is_smtp_success"))) &&
		   agrees(call, "isWarmupBlocked",
				  cJSON_IsTrue(cJSON_GetObjectItem(details, "is_warmup_blocked"))) &&
		   (type == NULL || strcmp(type, text_of(account, "type")) == 0) &&
		   (username == NULL || strstr(text_of(account, "username"), username) != NULL) &&
		   (client == NULL || number_of(account, "client_id", -1) == atoll(client)) &&
		   (warmup == NULL || strcmp(warmup, text_of(details, "status")) == 0);
}

void
list_accounts(Call *call)
{
	const char *text = query_value(call, "offset");
	int64_t		offset = text != NULL ? atoll(text) : 0;
	int64_t		limit, n = 0;
	cJSON	   *list, *account;

	text = query_value(call, "limit");
	limit = text != NULL ? atoll(text) : 100;
	if (limit < 1 || limit > 100)
	{
		reply_invalid(call, "query", "limit", "\"limit\" must be less than or equal to 100");
		return;
	}
	list = cJSON_CreateArray();
	cJSON_ArrayForEach (account, call->workspace->accounts)
	{
		if (!passes(call, account))
			continue;
		if (n >= offset && n < offset + limit)
		{
			cJSON *copy = account_copy(call, account);

			encode(copy, "password");
			encode(copy, "imap_password");
			cJSON_AddItemToArray(list, copy);
		}
		n++;
	}
	reply_json(call, 200, list_in_envelope(list, "data"));
}

static void
reply_no_account(Call *call, int64_t id)
{
	cJSON *error = cJSON_CreateObject();

	cJSON_AddFalseToObject(error, "ok");
	cJSON_AddStringToObject(error, "message", "Email account not found!");
	cJSON_AddStringToObject(error, "errorCode", "ACCOUNT_NOT_FOUND");
	cJSON_AddNumberToObject(error, "emailAccountId", id);
	reply_json(call, 404, error);
}

void
get_account(Call *call)
{
	cJSON *account = find_by(call->workspace->accounts, "id", call->id[0]);

	if (account == NULL)
		reply_error(call, 404, "Email account not found");
	else
		reply_json(call, 200, account_copy(call, account));
}

void
update_account(Call *call)
{
	static const char *const names[][2] = {
		{"max_email_per_day", "message_per_day"},
		{"from_name", "from_name"},
		{"custom_tracking_url", "custom_tracking_domain"},
		{"bcc", "bcc_email"},
		{"signature", "signature"},
		{"client_id", "client_id"},
		{"time_to_wait_in_mins", "minTimeToWaitInMins"},
		{"is_suspended", "is_suspended"},
	};
	cJSON *account;
	char   extra[128];

	if (!check_body(call, "max_email_per_day:i from_name:s custom_tracking_url:s bcc:s signature:s "
						  "client_id:i? time_to_wait_in_mins:i is_suspended:b"))
		return;
	account = find_by(call->workspace->accounts, "id", call->id[0]);
	if (account == NULL)
	{
		reply_no_account(call, call->id[0]);
		return;
	}
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
	{
		cJSON *value = cJSON_GetObjectItemCaseSensitive(call->body, names[i][0]);

		if (value != NULL)
			set_item(account, names[i][1], cJSON_Duplicate(value, true));
	}
	snprintf(extra, sizeof(extra),
			 "\"message\":\"Email account details updated successfully!\",\"emailAccountId\":%lld",
			 (long long) call->id[0]);
	reply_ok(call, extra);
}

void
list_campaign_accounts(Call *call)
{
	cJSON *list, *account;

	if (campaign_or_404(call, call->id[0]) == NULL)
		return;
	list = cJSON_CreateArray();
	cJSON_ArrayForEach (account, call->workspace->accounts)
	{
		if (in_campaign(account, call->id[0]))
		{
			cJSON *copy = account_copy(call, account);

			cJSON_DeleteItemFromObject(copy, "client_id");
			cJSON_DeleteItemFromObject(copy, "warmup_details");
			cJSON_AddItemToArray(list, copy);
		}
	}
	reply_json(call, 200, list_in_envelope(list, "data"));
}

/* An id in a list, which may be text as well. */
static int64_t
id_of(const cJSON *id)
{
	return cJSON_IsString(id)	? strtoll(id->valuestring, NULL, 10)
		   : cJSON_IsNumber(id) ? (int64_t) id->valuedouble
								: -1;
}

/* All ids must be accounts of the workspace before any is touched. */
static bool
check_accounts(Call *call, const cJSON *ids)
{
	const cJSON *id;

	cJSON_ArrayForEach (id, ids)
	{
		char text[96];

		if (find_by(call->workspace->accounts, "id", id_of(id)) != NULL)
			continue;
		snprintf(text, sizeof(text), "Email account id - %lld not allowed. Permission Error.",
				 (long long) id_of(id));
		reply_error(call, 400, text);
		return false;
	}
	return true;
}

void
add_campaign_accounts(Call *call)
{
	const cJSON *ids = cJSON_GetObjectItemCaseSensitive(call->body, "email_account_ids");
	const cJSON *id;
	cJSON		*answer, *rows;

	if (!check_body(call, "email_account_ids:a* auto_adjust_warmup:b") ||
		campaign_or_404(call, call->id[0]) == NULL || !check_accounts(call, ids))
		return;
	answer = cJSON_CreateObject();
	cJSON_AddTrueToObject(answer, "ok");
	rows = cJSON_AddArrayToObject(answer, "result");
	cJSON_ArrayForEach (id, ids)
	{
		cJSON *account = find_by(call->workspace->accounts, "id", id_of(id));
		cJSON *campaigns = cJSON_GetObjectItem(account, "campaigns_");
		cJSON *row = cJSON_CreateObject();

		if (!in_campaign(account, call->id[0]))
			cJSON_AddItemToArray(campaigns, cJSON_CreateNumber(call->id[0]));
		set_item(account, "campaign_count", cJSON_CreateNumber(cJSON_GetArraySize(campaigns)));
		cJSON_AddNumberToObject(row, "id", 46000 + id_of(id) % 1000);
		cJSON_AddNumberToObject(row, "email_campaign_id", call->id[0]);
		cJSON_AddNumberToObject(row, "email_account_id", id_of(id));
		cJSON_AddStringToObject(row, "updated_at", "2026-04-01T08:00:00.000Z");
		cJSON_AddItemToArray(rows, row);
	}
	if (switch_is("write_form", "live"))
	{
		reply_json(call, 200, answer);
		return;
	}
	cJSON_Delete(answer);
	reply_ok(call, NULL);
}

static void
leave_campaign(cJSON *account, int64_t campaign)
{
	cJSON *campaigns = cJSON_GetObjectItem(account, "campaigns_");

	for (int i = cJSON_GetArraySize(campaigns) - 1; i >= 0; i--)
		if ((int64_t) cJSON_GetArrayItem(campaigns, i)->valuedouble == campaign)
			cJSON_DeleteItemFromArray(campaigns, i);
	set_item(account, "campaign_count", cJSON_CreateNumber(cJSON_GetArraySize(campaigns)));
}

/* How many accounts the campaign would keep. */
static int
left_after(const Call *call, const cJSON *ids)
{
	const cJSON *account, *id;
	int			 left = 0;

	cJSON_ArrayForEach (account, call->workspace->accounts)
	{
		bool stays = in_campaign(account, call->id[0]);

		cJSON_ArrayForEach (id, ids)
		{
			if (id_of(id) == number_of(account, "id", 0))
				stays = false;
		}
		left += stays;
	}
	return left;
}

void
remove_campaign_accounts(Call *call)
{
	const char	*name = switch_text("remove_accounts_key");
	const cJSON *ids = cJSON_GetObjectItemCaseSensitive(call->body, name);
	const cJSON *id;
	cJSON		*campaign;
	char		 rules[64], extra[32];
	int			 removed = 0;

	snprintf(rules, sizeof(rules), "%s:a*", name);
	if (!check_body(call, rules) || (campaign = campaign_or_404(call, call->id[0])) == NULL ||
		!check_accounts(call, ids))
		return;
	if (strcmp(text_of(campaign, "status"), "ACTIVE") == 0 && left_after(call, ids) == 0)
	{
		reply_error(call, 400, "An active campaign needs at least one email account.");
		return;
	}
	cJSON_ArrayForEach (id, ids)
	{
		cJSON *account = find_by(call->workspace->accounts, "id", id_of(id));

		removed += in_campaign(account, call->id[0]);
		leave_campaign(account, call->id[0]);
	}
	snprintf(extra, sizeof(extra), "\"result\":%d", removed);
	reply_ok(call, extra);
}
