/*
 * control.c
 *		The sandbox's own routes, below /_sandbox: switches, faults, the log, the state, events.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include <stdlib.h>
#include <string.h>

#include "sandbox.h"

static void
reset_all(void)
{
	switches_reset();
	workspaces_reset();
	shift_reset();
	limits_reset();
	faults_reset();
	log_reset();
	deliver_reset();
}

static void
reset(Call *call)
{
	reset_all();
	reply_text(call, 200, "application/json", "{\"ok\":true}");
}

static void
set_switches(Call *call)
{
	char why[256];

	if (!switches_merge(call->body, why, sizeof(why)))
		reply_error(call, 400, why);
	else
		reply_json(call, 200, switches_dump());
}

static void
get_switches(Call *call)
{
	reply_json(call, 200, switches_dump());
}

static void
add_fault(Call *call)
{
	char why[256];

	if (!fault_add(call->body, why, sizeof(why)))
		reply_error(call, 400, why);
	else
		reply_text(call, 200, "application/json", "{\"ok\":true}");
}

static void
clear_faults(Call *call)
{
	faults_reset();
	reply_text(call, 200, "application/json", "{\"ok\":true}");
}

static void
get_log(Call *call)
{
	const char *since = query_value(call, "since");

	reply_json(call, 200, log_dump(since ? atoll(since) : 0, query_value(call, "path")));
}

static void
clear_log(Call *call)
{
	log_reset();
	reply_text(call, 200, "application/json", "{\"ok\":true}");
}

static void
get_counts(Call *call)
{
	reply_json(call, 200, log_counts());
}

static Workspace *
chosen_workspace(const Call *call)
{
	const char *key = query_value(call, "key");
	Workspace  *workspace = workspace_of(key != NULL ? key : text_of(call->body, "key"));

	return workspace != NULL ? workspace : workspace_of("sandbox-key-alpha");
}

static void
lead_state(Call *call)
{
	cJSON *row = member_copy(chosen_workspace(call), call->id[0], call->id[1]);

	reply_json(call, 200, row != NULL ? row : cJSON_CreateObject());
}

static void
campaign_state(Call *call)
{
	reply_json(call, 200,
			   cJSON_Duplicate(find_by(chosen_workspace(call)->campaigns, "id", call->id[0]), true)
				   ?: cJSON_CreateObject());
}

static void
campaigns_state(Call *call)
{
	reply_json(call, 200, cJSON_Duplicate(chosen_workspace(call)->campaigns, true));
}

static void
account_state(Call *call)
{
	reply_json(call, 200,
			   cJSON_Duplicate(find_by(chosen_workspace(call)->accounts, "id", call->id[0]), true)
				   ?: cJSON_CreateObject());
}

static void
block_list_state(Call *call)
{
	reply_json(call, 200, cJSON_Duplicate(chosen_workspace(call)->block_list, true));
}

static void
webhooks_state(Call *call)
{
	reply_json(call, 200, cJSON_Duplicate(chosen_workspace(call)->webhooks, true));
}

static void
emit(Call *call)
{
	const char *type = text_of(call->body, "event");
	int64_t		count = number_of(call->body, "count", 1);

	if (type == NULL)
	{
		reply_error(call, 400, "event is required");
		return;
	}
	for (int64_t i = 0; i < count; i++)
		deliver_event(chosen_workspace(call), type, number_of(call->body, "campaign_id", 0),
					  number_of(call->body, "lead_id", 0),
					  cJSON_GetObjectItem(call->body, "overrides"),
					  number_of(call->body, "bytes", 0));
	reply_text(call, 200, "application/json", "{\"ok\":true}");
}

static void
send_raw(Call *call)
{
	const cJSON *payload = cJSON_GetObjectItem(call->body, "payload");
	char		*body =
		   cJSON_IsString(payload) ? strdup(payload->valuestring) : cJSON_PrintUnformatted(payload);

	if (text_of(call->body, "url") == NULL || body == NULL)
		reply_error(call, 400, "url and payload are required");
	else
	{
		deliver_raw(text_of(call->body, "url"), body, cJSON_GetObjectItem(call->body, "headers"));
		reply_text(call, 200, "application/json", "{\"ok\":true}");
	}
	free(body);
}

static void
deliveries(Call *call)
{
	reply_json(call, 200, deliver_dump());
}

static void
pending(Call *call)
{
	cJSON *answer = cJSON_CreateObject();

	cJSON_AddNumberToObject(answer, "pending", deliver_pending());
	reply_json(call, 200, answer);
}

static const struct
{
	const char *method;
	const char *pattern;
	Handler		handler;
} routes[] = {
	{"POST", "/_sandbox/reset", reset},
	{"POST", "/_sandbox/config", set_switches},
	{"GET", "/_sandbox/config", get_switches},
	{"POST", "/_sandbox/fault", add_fault},
	{"DELETE", "/_sandbox/fault", clear_faults},
	{"GET", "/_sandbox/log", get_log},
	{"DELETE", "/_sandbox/log", clear_log},
	{"GET", "/_sandbox/counts", get_counts},
	{"GET", "/_sandbox/state/leads/#/#", lead_state},
	{"GET", "/_sandbox/state/campaigns/#", campaign_state},
	{"GET", "/_sandbox/state/campaigns", campaigns_state},
	{"GET", "/_sandbox/state/accounts/#", account_state},
	{"GET", "/_sandbox/state/blocklist", block_list_state},
	{"GET", "/_sandbox/state/webhooks", webhooks_state},
	{"POST", "/_sandbox/emit", emit},
	{"POST", "/_sandbox/send", send_raw},
	{"GET", "/_sandbox/deliveries", deliveries},
	{"GET", "/_sandbox/pending", pending},
};

bool
control(Call *call)
{
	if (strncmp(call->path, "/_sandbox", 9) != 0)
		return false;
	for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++)
	{
		memset(call->id, 0, sizeof(call->id));
		if (strcmp(routes[i].method, call->method) == 0 &&
			path_matches(routes[i].pattern, call->path, call->id))
		{
			routes[i].handler(call);
			return true;
		}
	}
	reply_unknown_route(call);
	return true;
}
