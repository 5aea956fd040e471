/*
 * leads.c
 *		Leads, their membership in campaigns, categories and the block list.
 *
 * A campaign with thousands of leads is not stored: its leads are computed from their index, and only
 * what a request changed is kept, in the workspace's "generated".
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "sandbox.h"

#define GENERATED_LEAD INT64_C(3600000000)
#define GENERATED_MAP INT64_C(2500000000)
#define GENERATED_STEP INT64_C(100000000) /* between two generated campaigns */

static cJSON *any_lead(Workspace *workspace, int64_t id);

static const char *const statuses[] = {"STARTED", "INPROGRESS", "COMPLETED", "PAUSED", "STOPPED"};

/* ---- members: leads in campaigns, in one form whether stored or generated ---- */

static int64_t
generated_base(int64_t campaign)
{
	return (campaign - 600001) * GENERATED_STEP;
}

static cJSON *
generated_changes(Workspace *workspace, int64_t campaign, int64_t index, bool create)
{
	char   key[24];
	cJSON *of_campaign, *changes;

	snprintf(key, sizeof(key), "%lld", (long long) campaign);
	of_campaign = cJSON_GetObjectItemCaseSensitive(workspace->generated, key);
	if (of_campaign == NULL && create)
		of_campaign = cJSON_AddObjectToObject(workspace->generated, key);
	snprintf(key, sizeof(key), "%lld", (long long) index);
	changes = cJSON_GetObjectItemCaseSensitive(of_campaign, key);
	if (changes == NULL && create)
		changes = cJSON_AddObjectToObject(of_campaign, key);
	return changes;
}

/* Where a lead is in a generated campaign, or -1. */
static int64_t
generated_index(int64_t campaign, int64_t lead)
{
	int64_t index = lead - GENERATED_LEAD - generated_base(campaign);

	return index >= 0 && index < generated_size(campaign) ? index : -1;
}

static cJSON *
stored_member(Workspace *workspace, int64_t campaign, int64_t lead)
{
	cJSON *member;

	cJSON_ArrayForEach (member, workspace->members)
	{
		if (number_of(member, "campaign", 0) == campaign && number_of(member, "lead", 0) == lead)
			return member;
	}
	return NULL;
}

/* What may be changed of a lead in a campaign: its status, its category. NULL: 404 is the answer. */
static cJSON *
member_or_404(Call *call)
{
	int64_t campaign = call->id[0], lead = call->id[1];
	cJSON  *member;

	if (campaign_or_404(call, campaign) == NULL)
		return NULL;
	if (generated_index(campaign, lead) >= 0)
		return generated_changes(call->workspace, campaign, generated_index(campaign, lead), true);
	member = stored_member(call->workspace, campaign, lead);
	if (member == NULL)
		reply_error(call, 404, "Lead not found - Invalid lead_id.");
	return member;
}

static cJSON *
lead_with(Workspace *workspace, int64_t id)
{
	return find_by(workspace->leads, "id", id);
}

/* ---- a row of the listing ---- */

static cJSON *
row_of(int64_t map, cJSON *category, const char *status, const char *created, cJSON *lead)
{
	bool   as_text = switch_is("id_form", "text");
	cJSON *row = cJSON_CreateObject();

	if (switch_is("lead_shape", "flat"))
	{
		cJSON_AddItemToObject(lead, "status", cJSON_CreateString(status));
		add_id(lead, "campaign_lead_map_id", map, as_text);
		cJSON_AddItemToObject(lead, "lead_category_id", category);
		cJSON_AddItemToObject(lead, "category_name", cJSON_CreateNull());
		set_item(lead, "created_at", cJSON_CreateString(created));
		cJSON_Delete(row);
		return lead;
	}
	add_id(row, "campaign_lead_map_id", map, as_text);
	cJSON_AddItemToObject(row, "lead_category_id", category);
	cJSON_AddStringToObject(row, "status", status);
	cJSON_AddStringToObject(row, "created_at", created);
	cJSON_AddItemToObject(row, "lead", lead);
	return row;
}

static cJSON *
id_as_switched(cJSON *lead)
{
	if (switch_is("id_form", "text"))
	{
		int64_t id = number_of(lead, "id", 0);

		cJSON_DeleteItemFromObjectCaseSensitive(lead, "id");
		add_id(lead, "id", id, true);
	}
	return lead;
}

/* In a listing a lead has no time of its own. */
static cJSON *
stored_row(Workspace *workspace, const cJSON *member)
{
	cJSON *lead = any_lead(workspace, number_of(member, "lead", 0));

	cJSON_DeleteItemFromObjectCaseSensitive(lead, "created_at");
	return row_of(number_of(member, "map", 0),
				  cJSON_Duplicate(cJSON_GetObjectItem(member, "category"), true),
				  text_of(member, "status"), text_of(member, "created_at"), id_as_switched(lead));
}

static cJSON *
generated_category(Workspace *workspace, int64_t campaign, int64_t index)
{
	cJSON *changes = generated_changes(workspace, campaign, index, false);
	cJSON *category = cJSON_GetObjectItemCaseSensitive(changes, "category");

	if (category != NULL)
		return cJSON_Duplicate(category, true);
	return index % 10 == 0 ? cJSON_CreateNumber(1) : cJSON_CreateNull();
}

static const char *
generated_status(Workspace *workspace, int64_t campaign, int64_t index)
{
	const char *status = text_of(generated_changes(workspace, campaign, index, false), "status");

	return status != NULL ? status : statuses[index % 5];
}

/* What an update has stored of a generated lead: its own fields, and its custom ones merged into what is there. */
static void
apply_changes(cJSON *lead, const cJSON *changes)
{
	const cJSON *field, *custom;

	cJSON_ArrayForEach (field, changes)
	{
		if (strcmp(field->string, "custom_fields") != 0)
		{
			set_item(lead, field->string, cJSON_Duplicate(field, true));
			continue;
		}
		cJSON_ArrayForEach (custom, field)
		{
			set_item(cJSON_GetObjectItem(lead, "custom_fields"), custom->string,
					 cJSON_Duplicate(custom, true));
		}
	}
}

static cJSON *
generated_lead(Workspace *workspace, int64_t campaign, int64_t index)
{
	cJSON *lead = cJSON_CreateObject();
	cJSON *fields = cJSON_CreateObject();
	char   text[96];

	cJSON_AddNumberToObject(lead, "id", GENERATED_LEAD + generated_base(campaign) + index);
	snprintf(text, sizeof(text), "First%lld", (long long) index);
	cJSON_AddStringToObject(lead, "first_name", text);
	snprintf(text, sizeof(text), "Last%lld", (long long) index);
	cJSON_AddStringToObject(lead, "last_name", text);
	snprintf(text, sizeof(text), "lead%lld@company%lld.example", (long long) index,
			 (long long) index % 500);
	cJSON_AddStringToObject(lead, "email", text);
	cJSON_AddNullToObject(lead, "phone_number");
	snprintf(text, sizeof(text), "Company %lld", (long long) index % 500);
	cJSON_AddStringToObject(lead, "company_name", text);
	cJSON_AddStringToObject(lead, "website", "https://company.example");
	cJSON_AddStringToObject(lead, "location", "Springfield");
	cJSON_AddStringToObject(fields, "title", "Head of Sales");
	cJSON_AddStringToObject(fields, "first_line", "I saw your post about gardening tools.");
	cJSON_AddItemToObject(lead, "custom_fields", fields);
	cJSON_AddNullToObject(lead, "linkedin_profile");
	cJSON_AddNullToObject(lead, "company_url");
	cJSON_AddFalseToObject(lead, "is_unsubscribed");
	cJSON_AddItemToObject(lead, "unsubscribed_client_id_map", cJSON_CreateObject());
	apply_changes(lead, cJSON_GetObjectItemCaseSensitive(
							generated_changes(workspace, campaign, index, false), "lead"));
	return lead;
}

static cJSON *
generated_row(Workspace *workspace, int64_t campaign, int64_t index)
{
	return row_of(GENERATED_MAP + generated_base(campaign) + index,
				  generated_category(workspace, campaign, index),
				  generated_status(workspace, campaign, index), "2026-03-19T10:00:00.000Z",
				  id_as_switched(generated_lead(workspace, campaign, index)));
}

/* The generated campaign of the workspace that a lead is in, by its id; 0: none. */
static int64_t
generated_campaign_of(const Workspace *workspace, int64_t lead)
{
	const cJSON *campaign;

	cJSON_ArrayForEach (campaign, workspace->campaigns)
	{
		int64_t id = number_of(campaign, "id", 0);

		if (generated_size(id) > 0 && generated_index(id, lead) >= 0)
			return id;
	}
	return 0;
}

/* A lead whoever it is, as an object of its own; NULL: there is none. */
static cJSON *
any_lead(Workspace *workspace, int64_t id)
{
	int64_t campaign = generated_campaign_of(workspace, id);
	cJSON  *lead = lead_with(workspace, id);

	if (campaign != 0)
		return generated_lead(workspace, campaign, generated_index(campaign, id));
	return lead != NULL ? cJSON_Duplicate(lead, true) : NULL;
}

cJSON *
member_copy(Workspace *workspace, int64_t campaign, int64_t lead)
{
	int64_t index = generated_index(campaign, lead);
	cJSON  *member;

	if (index >= 0)
		return generated_row(workspace, campaign, index);
	member = stored_member(workspace, campaign, lead);
	return member != NULL ? stored_row(workspace, member) : NULL;
}

/* ---- the listing ---- */

typedef struct Filter
{
	const char *status, *mail, *created_after, *sent_after, *event_after;
	int64_t		category; /* -1: any */
} Filter;

static bool
after(const char *time, const char *bound)
{
	return bound == NULL || (time != NULL && strncmp(time, bound, 19) > 0);
}

static bool
has_mail_status(const cJSON *member, const char *wanted)
{
	const cJSON *status;

	cJSON_ArrayForEach (status, cJSON_GetObjectItem(member, "mail"))
	{
		if (strcmp(status->valuestring, wanted) == 0)
			return true;
	}
	return false;
}

static bool
member_passes(const cJSON *member, const Filter *filter)
{
	return (filter->status == NULL || strcmp(filter->status, text_of(member, "status")) == 0) &&
		   (filter->category < 0 || number_of(member, "category", -1) == filter->category) &&
		   (filter->mail == NULL || has_mail_status(member, filter->mail)) &&
		   after(text_of(member, "created_at"), filter->created_after) &&
		   after(text_of(member, "last_sent"), filter->sent_after) &&
		   after(text_of(member, "last_event"), filter->event_after);
}

static bool
generated_passes(Workspace *workspace, int64_t campaign, int64_t index, const Filter *filter)
{
	cJSON  *category;
	int64_t id;

	if (cJSON_IsTrue(
			cJSON_GetObjectItem(generated_changes(workspace, campaign, index, false), "deleted")))
		return false;
	if (filter->status != NULL &&
		strcmp(filter->status, generated_status(workspace, campaign, index)) != 0)
		return false;
	if (filter->category < 0)
		return true;
	category = generated_category(workspace, campaign, index);
	id = cJSON_IsNumber(category) ? (int64_t) category->valuedouble : -1;
	cJSON_Delete(category);
	return id == filter->category;
}

/*
 * How the order has shifted since the switch was set: so many rows came in at its head, or went from
 * it; or two neighbours changed places. Each page but the first shifts it by one.
 */
static int64_t shifted = 0;
static int64_t swapped_at = 0; /* 0: nowhere */

void
shift_reset(void)
{
	shifted = swapped_at = 0;
}

static void
shift_once(int64_t offset)
{
	if (switch_is("shift", "none"))
		shift_reset();
	else if (offset > 0 && switch_is("shift", "swap"))
		swapped_at = offset;
	else if (offset > 0)
		shifted++;
}

/* The index of the row that is now at this place; -1: a row that has just come in. */
static int64_t
index_at(int64_t place)
{
	if (switch_is("shift", "insert"))
		return place < shifted ? -1 : place - shifted;
	if (switch_is("shift", "delete"))
		return place + shifted;
	if (switch_is("shift", "swap") && swapped_at > 0 &&
		(place == swapped_at || place == swapped_at + 1))
		return place == swapped_at ? place + 1 : place - 1;
	return place;
}

static cJSON *
new_row(int64_t number)
{
	cJSON *lead = cJSON_CreateObject();

	cJSON_AddNumberToObject(lead, "id", 3900000000.0 + number);
	cJSON_AddStringToObject(lead, "email", "new@lead.example");
	return row_of(2900000000 + number, cJSON_CreateNull(), "STARTED", "2026-04-01T08:00:00.000Z",
				  lead);
}

static cJSON *
plain_generated_page(Workspace *workspace, int64_t campaign, int64_t offset, int64_t limit,
					 int64_t *total)
{
	cJSON  *rows = cJSON_CreateArray();
	int64_t size = generated_size(campaign);

	shift_once(offset);
	*total = size + (switch_is("shift", "insert")	? shifted
					 : switch_is("shift", "delete") ? -shifted
													: 0);
	for (int64_t place = offset; place < offset + limit && place < *total; place++)
	{
		int64_t index = index_at(place);

		if (index < size)
			cJSON_AddItemToArray(rows, index < 0 ? new_row(shifted - place)
												 : generated_row(workspace, campaign, index));
	}
	return rows;
}

static cJSON *
filtered_page(Workspace *workspace, int64_t campaign, const Filter *filter, int64_t offset,
			  int64_t limit, int64_t *total)
{
	cJSON  *rows = cJSON_CreateArray();
	int64_t size = generated_size(campaign);
	cJSON  *member;

	*total = 0;
	for (int64_t i = 0; i < size; i++)
	{
		if (!generated_passes(workspace, campaign, i, filter))
			continue;
		if (*total >= offset && *total < offset + limit)
			cJSON_AddItemToArray(rows, generated_row(workspace, campaign, i));
		(*total)++;
	}
	cJSON_ArrayForEach (member, workspace->members)
	{
		if (number_of(member, "campaign", 0) != campaign || !member_passes(member, filter))
			continue;
		if (*total >= offset && *total < offset + limit)
			cJSON_AddItemToArray(rows, stored_row(workspace, member));
		(*total)++;
	}
	return rows;
}

static bool
one_of(Call *call, const char *name, const char *value, const char *values)
{
	char message[512];

	if (value == NULL || (strchr(value, ',') == NULL && strstr(values, value) != NULL))
		return true;
	snprintf(message, sizeof(message), "\"%s\" must be one of [%s]", name, values);
	reply_invalid(call, "query", name, message);
	return false;
}

static bool
check_page(Call *call, int64_t *offset, int64_t *limit, int64_t most)
{
	const char *text = query_value(call, "offset");
	char		message[96];

	*offset = text != NULL ? atoll(text) : 0;
	text = query_value(call, "limit");
	*limit = text != NULL ? atoll(text) : 100;
	if (*limit >= 1 && *limit <= most && *offset >= 0)
		return true;
	snprintf(message, sizeof(message), "\"limit\" must be between 1 and %lld", (long long) most);
	reply_invalid(call, "query", "limit", message);
	return false;
}

void
list_leads(Call *call)
{
	const char *category = query_value(call, "lead_category_id");
	Filter		filter = {query_value(call, "status"),		  query_value(call, "emailStatus"),
						  query_value(call, "created_at_gt"), query_value(call, "last_sent_time_gt"),
						  query_value(call, "event_time_gt"), category != NULL ? atoll(category) : -1};
	bool		plain;
	int64_t		offset, limit, total;
	cJSON	   *rows, *answer;
	bool		flat = switch_is("lead_shape", "flat");

	if (!check_page(call, &offset, &limit, 100) ||
		!one_of(call, "status", filter.status, "STARTED, INPROGRESS, COMPLETED, PAUSED, STOPPED") ||
		!one_of(call, "emailStatus", filter.mail,
				"is_opened, is_clicked, is_replied, is_bounced, is_unsubscribed, is_spam, "
				"is_accepted, not_replied, is_sender_bounced") ||
		campaign_or_404(call, call->id[0]) == NULL)
		return;
	plain = generated_size(call->id[0]) > 0 && filter.status == NULL && filter.mail == NULL &&
			filter.created_after == NULL && filter.sent_after == NULL &&
			filter.event_after == NULL && filter.category < 0;
	rows = plain ? plain_generated_page(call->workspace, call->id[0], offset, limit, &total)
				 : filtered_page(call->workspace, call->id[0], &filter, offset, limit, &total);
	answer = cJSON_CreateObject();
	add_id(answer, flat ? "total" : "total_leads", total, switch_is("count_form", "text"));
	cJSON_AddNumberToObject(answer, "offset", offset);
	cJSON_AddNumberToObject(answer, "limit", limit);
	cJSON_AddItemToObject(answer, flat ? "leads" : "data", rows);
	reply_json(call, 200, answer);
}

/* ---- single leads ---- */

static cJSON *
generated_membership(Workspace *workspace, int64_t lead)
{
	int64_t		 id = generated_campaign_of(workspace, lead);
	int64_t		 index = generated_index(id, lead);
	const cJSON *campaign = find_by(workspace->campaigns, "id", id);
	cJSON		*row = cJSON_CreateObject();

	cJSON_AddNumberToObject(row, "campaign_lead_map_id",
							GENERATED_MAP + generated_base(id) + index);
	cJSON_AddNumberToObject(row, "campaign_id", id);
	cJSON_AddStringToObject(row, "campaign_name", text_of(campaign, "name"));
	cJSON_AddItemToObject(row, "client_id",
						  cJSON_Duplicate(cJSON_GetObjectItem(campaign, "client_id"), true));
	cJSON_AddItemToObject(row, "lead_category_id", generated_category(workspace, id, index));
	return row;
}

static cJSON *
campaign_data(Workspace *workspace, int64_t lead)
{
	cJSON *list = cJSON_CreateArray();
	cJSON *member;

	cJSON_ArrayForEach (member, workspace->members)
	{
		cJSON *row, *campaign;

		if (number_of(member, "lead", 0) != lead)
			continue;
		campaign = find_by(workspace->campaigns, "id", number_of(member, "campaign", 0));
		row = cJSON_CreateObject();
		cJSON_AddNumberToObject(row, "campaign_lead_map_id", number_of(member, "map", 0));
		cJSON_AddNumberToObject(row, "campaign_id", number_of(member, "campaign", 0));
		cJSON_AddStringToObject(row, "campaign_name",
								campaign != NULL ? text_of(campaign, "name") : "");
		cJSON_AddItemToObject(row, "client_id",
							  cJSON_Duplicate(cJSON_GetObjectItem(campaign, "client_id"), true));
		cJSON_AddItemToObject(row, "lead_category_id",
							  cJSON_Duplicate(cJSON_GetObjectItem(member, "category"), true));
		cJSON_AddItemToArray(list, row);
	}
	if (generated_campaign_of(workspace, lead) != 0)
		cJSON_AddItemToArray(list, generated_membership(workspace, lead));
	return list;
}

/* Of a stored or a generated lead, whose address tells its index; 0: there is none. */
static int64_t
lead_id_of(Workspace *workspace, const char *email)
{
	cJSON	 *lead, *campaign;
	long long index;
	int		  company;

	cJSON_ArrayForEach (lead, workspace->leads)
	{
		if (strcasecmp(text_of(lead, "email"), email) == 0)
			return number_of(lead, "id", 0);
	}
	if (sscanf(email, "lead%lld@company%d.example", &index, &company) != 2 || index < 0 ||
		company != index % 500)
		return 0;
	cJSON_ArrayForEach (campaign, workspace->campaigns)
	{
		int64_t id = number_of(campaign, "id", 0);

		if (index < generated_size(id))
			return GENERATED_LEAD + generated_base(id) + index;
	}
	return 0;
}

void
lead_by_email(Call *call)
{
	int64_t id = lead_id_of(call->workspace, query_value(call, "email"));
	cJSON  *copy;

	if (id == 0)
	{
		reply_text(call, 200, "application/json", "{}");
		return;
	}
	copy = any_lead(call->workspace, id);
	cJSON_DeleteItemFromObjectCaseSensitive(copy, "id");
	add_id(copy, "id", id, !switch_is("id_form", "number"));
	cJSON_AddItemToObject(copy, "lead_campaign_data", campaign_data(call->workspace, id));
	reply_json(call, 200, copy);
}

void
lead_by_id(Call *call)
{
	cJSON *copy = any_lead(call->workspace, call->id[0]);
	cJSON *answer;

	if (copy == NULL)
	{
		reply_error(call, 404, "Lead not found - Invalid lead_id.");
		return;
	}
	answer = cJSON_CreateObject();
	cJSON_DeleteItemFromObjectCaseSensitive(copy, "id");
	add_id(copy, "id", call->id[0], true);
	cJSON_AddNullToObject(copy, "timezone");
	cJSON_AddNumberToObject(copy, "esp_domain_type", 1);
	cJSON_AddTrueToObject(answer, "ok");
	cJSON_AddStringToObject(answer, "message", "Lead details fetched successfully");
	cJSON_AddItemToArray(cJSON_AddArrayToObject(answer, "data"), copy);
	reply_json(call, 200, answer);
}

void
lead_campaigns(Call *call)
{
	cJSON *list = cJSON_CreateArray();
	cJSON *data = campaign_data(call->workspace, call->id[0]);
	cJSON *row;

	cJSON_ArrayForEach (row, data)
	{
		const cJSON *campaign =
			find_by(call->workspace->campaigns, "id", number_of(row, "campaign_id", 0));
		cJSON *entry = cJSON_CreateObject();

		cJSON_AddNumberToObject(entry, "id", number_of(row, "campaign_id", 0));
		cJSON_AddStringToObject(entry, "status",
								campaign != NULL ? text_of(campaign, "status") : "");
		cJSON_AddStringToObject(entry, "name", text_of(row, "campaign_name"));
		cJSON_AddItemToArray(list, entry);
	}
	cJSON_Delete(data);
	reply_json(call, 200, list);
}

void
update_lead(Call *call)
{
	cJSON *member, *lead;

	if (!check_body(call, "email:s* first_name:s last_name:s phone_number:s company_name:s "
						  "website:s location:s linkedin_profile:s company_url:s custom_fields:o"))
		return;
	if ((member = member_or_404(call)) == NULL)
		return;
	if (generated_index(call->id[0], call->id[1]) >= 0)
	{
		lead = cJSON_GetObjectItemCaseSensitive(member, "lead")
				   ?: cJSON_AddObjectToObject(member, "lead");
		if (cJSON_GetObjectItem(lead, "custom_fields") == NULL)
			cJSON_AddObjectToObject(lead, "custom_fields");
	}
	else
		lead = lead_with(call->workspace, call->id[1]);
	apply_changes(lead, call->body);
	reply_ok(call, NULL);
}

static cJSON *
blocked(Workspace *workspace, const char *entry)
{
	cJSON *row;

	cJSON_ArrayForEach (row, workspace->block_list)
	{
		if (strcasecmp(text_of(row, "email_or_domain"), entry) == 0)
			return row;
	}
	return NULL;
}

/* What becomes of a lead of an import. */
typedef struct Import
{
	int	   added, known, elsewhere, repeated, blocked;
	cJSON *invalid, *unsubscribed;		   /* addresses */
	cJSON *added_ids, *known_ids, *others; /* ids by address */
} Import;

static bool
has_text(const cJSON *list, const char *text)
{
	const cJSON *item;

	cJSON_ArrayForEach (item, list)
	{
		if (strcasecmp(item->valuestring, text) == 0)
			return true;
	}
	return false;
}

static bool
setting(const cJSON *settings, const char *name)
{
	return cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(settings, name));
}

static bool
is_elsewhere(Workspace *workspace, int64_t campaign, int64_t lead)
{
	cJSON *member;

	cJSON_ArrayForEach (member, workspace->members)
	{
		if (number_of(member, "lead", 0) == lead && number_of(member, "campaign", 0) != campaign)
			return true;
	}
	return generated_campaign_of(workspace, lead) != 0 &&
		   generated_campaign_of(workspace, lead) != campaign;
}

static int64_t
new_lead(Workspace *workspace, const cJSON *given)
{
	cJSON  *lead = cJSON_Duplicate(given, true);
	int64_t id = 3950000000 + workspace->next_id++;

	cJSON_AddNumberToObject(lead, "id", id);
	cJSON_AddStringToObject(lead, "created_at", "2026-04-01T08:00:00.000Z");
	cJSON_AddFalseToObject(lead, "is_unsubscribed");
	if (cJSON_GetObjectItem(lead, "custom_fields") == NULL)
		cJSON_AddObjectToObject(lead, "custom_fields");
	cJSON_AddItemToArray(workspace->leads, lead);
	return id;
}

static void
new_member(Workspace *workspace, int64_t campaign, int64_t lead)
{
	static int64_t next_map = 2700000001;
	cJSON		  *member = cJSON_CreateObject();

	cJSON_AddNumberToObject(member, "map", next_map++);
	cJSON_AddNumberToObject(member, "campaign", campaign);
	cJSON_AddNumberToObject(member, "lead", lead);
	cJSON_AddNullToObject(member, "category");
	cJSON_AddStringToObject(member, "status", "STARTED");
	cJSON_AddStringToObject(member, "created_at", "2026-04-01T08:00:00.000Z");
	cJSON_AddNullToObject(member, "last_sent");
	cJSON_AddNullToObject(member, "last_event");
	cJSON_AddArrayToObject(member, "mail");
	cJSON_AddItemToArray(workspace->members, member);
}

static bool
is_member(Workspace *workspace, int64_t campaign, int64_t lead)
{
	return stored_member(workspace, campaign, lead) != NULL || generated_index(campaign, lead) >= 0;
}

static bool
is_blocked(Workspace *workspace, const char *email)
{
	const char *at = strchr(email, '@');

	return blocked(workspace, email) != NULL || blocked(workspace, at + 1) != NULL;
}

static void
import_lead(Workspace *workspace, int64_t campaign, const cJSON *settings, const cJSON *given,
			Import *import)
{
	const char *email = text_of(given, "email");
	int64_t		id;

	if (strchr(email, '@') == NULL)
	{
		cJSON_AddItemToArray(import->invalid, cJSON_CreateString(email));
		return;
	}
	if (!setting(settings, "ignore_global_block_list") && is_blocked(workspace, email))
	{
		import->blocked++;
		return;
	}
	id = lead_id_of(workspace, email);
	if (id != 0 && !setting(settings, "ignore_unsubscribe_list"))
	{
		cJSON *lead = any_lead(workspace, id);
		bool   is_unsubscribed = cJSON_IsTrue(cJSON_GetObjectItem(lead, "is_unsubscribed"));

		cJSON_Delete(lead);
		if (is_unsubscribed)
		{
			cJSON_AddItemToArray(import->unsubscribed, cJSON_CreateString(email));
			return;
		}
	}
	if (id != 0 && is_member(workspace, campaign, id))
	{
		import->known++;
		add_id(import->known_ids, email, id, true);
		return;
	}
	if (id != 0 && is_elsewhere(workspace, campaign, id))
	{
		if (setting(settings, "ignore_duplicate_leads_in_other_campaign"))
		{
			import->elsewhere++;
			add_id(import->others, email, id, true);
			return;
		}
	}
	if (id == 0)
		id = new_lead(workspace, given);
	new_member(workspace, campaign, id);
	import->added++;
	add_id(import->added_ids, email, id, true);
}

static bool
check_leads(Call *call, const cJSON *list, const cJSON *settings)
{
	const cJSON *given;

	if (settings != NULL && !check_object(call, "settings", settings,
										  "ignore_global_block_list:b ignore_unsubscribe_list:b "
										  "ignore_duplicate_leads_in_other_campaign:b "
										  "ignore_community_bounce_list:b return_lead_ids:b"))
		return false;
	if (cJSON_GetArraySize(list) < 1 || cJSON_GetArraySize(list) > 400)
	{
		reply_invalid(call, "body", "lead_list",
					  cJSON_GetArraySize(list) < 1
						  ? "\"lead_list\" must contain at least 1 items"
						  : "\"lead_list\" must contain less than or equal to 400 items");
		return false;
	}
	cJSON_ArrayForEach (given, list)
	{
		if (!check_object(call, "lead_list", given,
						  "email:s* first_name:s? last_name:s? phone_number:? company_name:s? "
						  "website:s? location:s? linkedin_profile:s? company_url:s? "
						  "custom_fields:o"))
			return false;
	}
	return true;
}

static cJSON *
import_answer(Import *import, int handled, bool with_ids)
{
	cJSON *answer = cJSON_CreateObject();
	cJSON *ids = cJSON_CreateObject();

	cJSON_AddTrueToObject(answer, "ok");
	cJSON_AddNumberToObject(answer, "upload_count", handled);
	cJSON_AddNumberToObject(answer, "total_leads", import->added);
	cJSON_AddNumberToObject(answer, "already_added_to_campaign", import->known);
	cJSON_AddNumberToObject(answer, "skipped_in_other_campaign_count", import->elsewhere);
	cJSON_AddNumberToObject(answer, "duplicate_count", import->repeated);
	cJSON_AddNumberToObject(answer, "block_count", import->blocked);
	cJSON_AddNumberToObject(answer, "bounce_count", 0);
	cJSON_AddNumberToObject(answer, "invalid_email_count", cJSON_GetArraySize(import->invalid));
	cJSON_AddItemToObject(answer, "invalid_emails", import->invalid);
	cJSON_AddItemToObject(answer, "unsubscribed_leads", import->unsubscribed);
	cJSON_AddFalseToObject(answer, "is_lead_limit_exhausted");
	cJSON_AddNumberToObject(answer, "lead_import_stopped_count", 0);
	cJSON_AddItemToObject(ids, "newlyAddedLeads", import->added_ids);
	cJSON_AddItemToObject(ids, "existingLeads", import->known_ids);
	cJSON_AddItemToObject(ids, "existingLeadsInOtherCampaigns", import->others);
	if (with_ids)
		cJSON_AddItemToObject(answer, "emailToLeadIdMap", ids);
	else
		cJSON_Delete(ids);
	return answer;
}

void
add_leads(Call *call)
{
	const cJSON *list = cJSON_GetObjectItemCaseSensitive(call->body, "lead_list");
	const cJSON *settings = cJSON_GetObjectItemCaseSensitive(call->body, "settings");
	const cJSON *given;
	cJSON		*seen;
	Import		 import = {0};

	if (!check_body(call, "lead_list:a* settings:o lead_list_ids:a type:s") ||
		campaign_or_404(call, call->id[0]) == NULL || !check_leads(call, list, settings))
		return;
	import.invalid = cJSON_CreateArray();
	import.unsubscribed = cJSON_CreateArray();
	import.added_ids = cJSON_CreateObject();
	import.known_ids = cJSON_CreateObject();
	import.others = cJSON_CreateObject();
	seen = cJSON_CreateArray();
	cJSON_ArrayForEach (given, list)
	{
		const char *email = text_of(given, "email");

		if (has_text(seen, email))
			import.repeated++;
		else
			import_lead(call->workspace, call->id[0], settings, given, &import);
		cJSON_AddItemToArray(seen, cJSON_CreateString(email));
	}
	cJSON_Delete(seen);
	reply_json(
		call, 200,
		import_answer(&import, cJSON_GetArraySize(list), setting(settings, "return_lead_ids")));
}

/* ---- actions on a lead ---- */

static void
reply_done(Call *call)
{
	reply_ok(call, "\"data\":\"success\"");
}

void
pause_lead(Call *call)
{
	cJSON *member;

	if (!check_body(call, "") || (member = member_or_404(call)) == NULL)
		return;
	set_item(member, "status", cJSON_CreateString("PAUSED"));
	reply_done(call);
}

void
resume_lead(Call *call)
{
	cJSON *member;

	if (!check_body(call, "resume_lead_with_delay_days:i?"))
		return;
	if (number_of(call->body, "resume_lead_with_delay_days", 0) < 0)
	{
		reply_invalid(call, "body", "resume_lead_with_delay_days",
					  "\"resume_lead_with_delay_days\" must be greater than or equal to 0");
		return;
	}
	if ((member = member_or_404(call)) == NULL)
		return;
	set_item(member, "status", cJSON_CreateString("INPROGRESS"));
	reply_done(call);
}

static cJSON *
category_event(Workspace *workspace, const cJSON *old, int64_t id)
{
	cJSON *overrides = cJSON_CreateObject();
	cJSON *change = cJSON_AddObjectToObject(overrides, "lead_category");
	cJSON *was =
		find_by(workspace->categories, "id", cJSON_IsNumber(old) ? (int64_t) old->valuedouble : -1);
	cJSON *is = find_by(workspace->categories, "id", id);

	cJSON_AddItemToObject(change, "old_id", old ? cJSON_Duplicate(old, true) : cJSON_CreateNull());
	cJSON_AddItemToObject(change, "old_name",
						  was ? cJSON_CreateString(text_of(was, "name")) : cJSON_CreateNull());
	cJSON_AddNumberToObject(change, "new_id", id);
	cJSON_AddStringToObject(change, "new_name", text_of(is, "name"));
	cJSON_AddNumberToObject(overrides, "lead_category_id", id);
	cJSON_AddStringToObject(overrides, "category", text_of(is, "name"));
	return overrides;
}

void
set_lead_category(Call *call)
{
	const cJSON *wanted = cJSON_GetObjectItemCaseSensitive(call->body, "category_id");
	int64_t		 id = number_of(call->body, "category_id", 0);
	cJSON		*member, *event = NULL;

	if (!check_body(call, "category_id:i? pause_lead:b"))
		return;
	if (id != 0 && find_by(call->workspace->categories, "id", id) == NULL)
	{
		reply_error(call, 400, "Invalid category_id.");
		return;
	}
	if ((member = member_or_404(call)) == NULL)
		return;
	if (wanted != NULL && id != 0)
		event = category_event(call->workspace, cJSON_GetObjectItem(member, "category"), id);
	if (wanted != NULL)
		set_item(member, "category", id != 0 ? cJSON_CreateNumber(id) : cJSON_CreateNull());
	if (cJSON_IsTrue(cJSON_GetObjectItem(call->body, "pause_lead")))
		set_item(member, "status", cJSON_CreateString("PAUSED"));
	if (event != NULL)
		deliver_event(call->workspace, "LEAD_CATEGORY_UPDATED", call->id[0], call->id[1], event, 0);
	cJSON_Delete(event);
	reply_ok(call, NULL);
}

void
delete_lead(Call *call)
{
	cJSON *member = member_or_404(call);

	if (member == NULL)
		return;
	if (generated_index(call->id[0], call->id[1]) >= 0)
		set_item(member, "deleted", cJSON_CreateTrue());
	else
		cJSON_Delete(cJSON_DetachItemViaPointer(call->workspace->members, member));
	if (switch_is("write_form", "live"))
		reply_text(call, 200, "text/html; charset=utf-8", "success");
	else
		reply_ok(call, NULL);
}

void
unsubscribe_everywhere(Call *call)
{
	cJSON  *lead = lead_with(call->workspace, call->id[0]);
	int64_t generated = generated_campaign_of(call->workspace, call->id[0]);
	cJSON  *member;

	if (!check_body(call, ""))
		return;
	if (generated != 0)
	{
		member = generated_changes(call->workspace, generated,
								   generated_index(generated, call->id[0]), true);
		set_item(member, "status", cJSON_CreateString("STOPPED"));
		lead = cJSON_GetObjectItemCaseSensitive(member, "lead")
				   ?: cJSON_AddObjectToObject(member, "lead");
		deliver_event(call->workspace, "LEAD_UNSUBSCRIBED", generated, call->id[0], NULL, 0);
	}
	if (lead == NULL)
	{
		reply_error(call, 404, "Lead not found - Invalid lead_id.");
		return;
	}
	set_item(lead, "is_unsubscribed", cJSON_CreateTrue());
	cJSON_ArrayForEach (member, call->workspace->members)
	{
		if (number_of(member, "lead", 0) != call->id[0])
			continue;
		set_item(member, "status", cJSON_CreateString("STOPPED"));
		deliver_event(call->workspace, "LEAD_UNSUBSCRIBED", number_of(member, "campaign", 0),
					  call->id[0], NULL, 0);
	}
	reply_ok(call, NULL);
}

void
unsubscribe_from_campaign(Call *call)
{
	cJSON *member;

	if (!check_body(call, "") || (member = member_or_404(call)) == NULL)
		return;
	set_item(member, "status", cJSON_CreateString("STOPPED"));
	deliver_event(call->workspace, "LEAD_UNSUBSCRIBED", call->id[0], call->id[1], NULL, 0);
	reply_ok(call, NULL);
}

void
lead_history(Call *call)
{
	if (member_or_404(call) == NULL)
		return;
	reply_text(call, 200, "application/json",
			   "{\"history\":[{\"type\":\"SENT\",\"message_id\":\"<sw-1@send.example>\","
			   "\"stats_id\":\"7b27fb71-588d-4afa-b185-0259716ff44b\",\"time\":"
			   "\"2026-03-04T09:00:00.000Z\",\"subject\":\"Hello\",\"email_body\":\"<p>Hi</p>\","
			   "\"email_seq_number\":1}],\"from\":\"sam@send.example\",\"to\":"
			   "\"ada@clinic.example\"}");
}

void
reply_to_lead(Call *call)
{
	if (!check_body(call,
					"email_stats_id:s* email_body:s* reply_message_id:s reply_email_time:s "
					"reply_email_body:s cc:s bcc:s add_signature:b to_email:s to_first_name:s "
					"to_last_name:s scheduled_time:s schedule_condition:s seq_type:s "
					"attachments:a"))
		return;
	reply_text(call, 200, "text/html; charset=utf-8",
			   "Email added to the queue, will be sent out soon!");
}

void
list_categories(Call *call)
{
	reply_json(call, 200,
			   list_in_envelope(cJSON_Duplicate(call->workspace->categories, true), "categories"));
}

/* ---- the block list ---- */

void
block_domains(Call *call)
{
	cJSON *list = cJSON_GetObjectItemCaseSensitive(call->body, "domain_block_list");
	cJSON *entry;
	int	   added = 0;
	char   extra[96];

	if (!check_body(call, "domain_block_list:a* client_id:i?"))
		return;
	cJSON_ArrayForEach (entry, list)
	{
		cJSON *row;

		if (!cJSON_IsString(entry) || strchr(entry->valuestring, '.') == NULL)
		{
			reply_error(call, 400, "domain_block_list must be an array of domains");
			return;
		}
		if (blocked(call->workspace, entry->valuestring) != NULL)
			continue;
		row = cJSON_CreateObject();
		cJSON_AddNumberToObject(row, "id", call->workspace->next_id++);
		cJSON_AddStringToObject(row, "email_or_domain", entry->valuestring);
		cJSON_AddStringToObject(row, "created_at", "2026-04-01T08:00:00.000Z");
		cJSON_AddStringToObject(row, "source", "manual");
		cJSON_AddItemToObject(row, "client_id",
							  cJSON_Duplicate(cJSON_GetObjectItem(call->body, "client_id"), true)
								  ?: cJSON_CreateNull());
		cJSON_AddItemToArray(call->workspace->block_list, row);
		added++;
	}
	snprintf(extra, sizeof(extra), "\"uploadCount\":%d,\"totalDomainAdded\":%d",
			 cJSON_GetArraySize(list), added);
	reply_ok(call, extra);
}

/* One filter looks for a part of an entry, one for the whole. */
static bool
entry_passes(const Call *call, const cJSON *row)
{
	const char *entry = text_of(row, "email_or_domain");
	const char *part = query_value(call, "filter_email_or_domain");
	const char *whole = query_value(call, "filter_email_with_domain");
	const char *client = query_value(call, "filter_client_id");

	return (part == NULL || strcasestr(entry, part) != NULL) &&
		   (whole == NULL || strcasecmp(entry, whole) == 0) &&
		   (client == NULL || number_of(row, "client_id", -1) == atoll(client));
}

void
list_blocked(Call *call)
{
	int64_t offset, limit, n = 0;
	cJSON  *rows, *row;

	if (!check_page(call, &offset, &limit, 1000))
		return;
	rows = cJSON_CreateArray();
	cJSON_ArrayForEach (row, call->workspace->block_list)
	{
		if (!entry_passes(call, row))
			continue;
		if (n >= offset && n < offset + limit)
			cJSON_AddItemToArray(rows, cJSON_Duplicate(row, true));
		n++;
	}
	reply_json(call, 200, rows);
}

void
unblock(Call *call)
{
	const char *id = query_value(call, "id");
	cJSON	   *row = id != NULL ? find_by(call->workspace->block_list, "id", atoll(id)) : NULL;

	if (row == NULL)
	{
		reply_error(call, 404, "Block list entry not found");
		return;
	}
	cJSON_Delete(cJSON_DetachItemViaPointer(call->workspace->block_list, row));
	reply_ok(call, NULL);
}

void
update_revenue(Call *call)
{
	if (check_body(call, "email_lead_map_id:i* revenue:i*"))
		reply_ok(call, NULL);
}
