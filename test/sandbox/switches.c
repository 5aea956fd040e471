/*
 * switches.c
 *		The switches that change how the sandbox behaves; README.md tells what each does.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include <stdio.h>
#include <string.h>

#include "sandbox.h"

static const struct
{
	const char *name;
	const char *value; /* as JSON */
} defaults[] = {
	{"rate_limit", "\"none\""},
	{"rate_headers", "true"},
	{"retry_after", "true"},
	{"rate_body", "false"},
	{"latency_ms", "0"},
	{"lead_shape", "\"live\""},
	{"list_envelope", "\"array\""},
	{"id_form", "\"live\""},
	{"count_form", "\"text\""},
	{"campaign_not_found", "\"empty_body\""},
	{"write_form", "\"live\""},
	{"shift", "\"none\""},
	{"remove_accounts_key", "\"email_account_ids\""},
	{"category_webhook_delete", "\"body\""},
	{"gzip", "false"},
	{"echo_key", "false"},
	{"webhook_retry_ms", "\"60000,300000,900000,3600000,21600000\""},
	{"webhook_signing_secret", "\"\""},
	{"webhook_new_id_on_retry", "false"},
	{"webhook_repeat_new_id", "false"},
	{"webhook_reorder", "false"},
	{"webhook_test_event_on_save", "false"},
	{"webhook_envelope", "\"classic\""},
	{"webhook_concurrency", "32"},
};

static cJSON *switches = NULL;

void
switches_reset(void)
{
	cJSON_Delete(switches);
	switches = cJSON_CreateObject();
	for (size_t i = 0; i < sizeof(defaults) / sizeof(defaults[0]); i++)
		cJSON_AddItemToObject(switches, defaults[i].name, cJSON_Parse(defaults[i].value));
}

bool
switches_merge(const cJSON *changes, char *why, size_t size)
{
	const cJSON *change;

	cJSON_ArrayForEach (change, changes)
	{
		if (cJSON_GetObjectItemCaseSensitive(switches, change->string) == NULL)
		{
			snprintf(why, size, "there is no switch \"%s\"", change->string);
			return false;
		}
		cJSON_ReplaceItemInObjectCaseSensitive(switches, change->string,
											   cJSON_Duplicate(change, true));
	}
	return true;
}

cJSON *
switches_dump(void)
{
	return cJSON_Duplicate(switches, true);
}

const char *
switch_text(const char *name)
{
	const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(switches, name));

	return text != NULL ? text : "";
}

bool
switch_is(const char *name, const char *value)
{
	return strcmp(switch_text(name), value) == 0;
}

bool
switch_on(const char *name)
{
	return cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(switches, name));
}

int64_t
switch_number(const char *name)
{
	return (int64_t) cJSON_GetNumberValue(cJSON_GetObjectItemCaseSensitive(switches, name));
}
