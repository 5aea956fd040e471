/*
 * api/complete.c
 *		Parameters that Smartlead demands and that the user need not know.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "lib/stringinfo.h"

#include "api/call.h"
#include "api/complete.h"

void
sl_complete_lead_email(const SlConnection *connection, SlArguments *arguments)
{
	static const char *const lead_id_only[] = {"lead_id"};
	SlArguments				*lookup;
	const cJSON				*lead;
	const cJSON				*email;

	if (sl_arguments_text(arguments, "email") != NULL)
		return;
	lookup = sl_arguments(sl_endpoint_find("get_lead", lead_id_only, 1));
	sl_arguments_set_text(lookup, "lead_id", sl_arguments_text(arguments, "lead_id"));
	lead = sl_answer_object(sl_call(connection, lookup));
	email = sl_json_member(lead, "email");
	if (!cJSON_IsString(email))
		ereport(ERROR,
				(errcode(SL_ERRCODE_NOT_FOUND),
				 errmsg("Smartlead has no lead %s", sl_arguments_text(arguments, "lead_id")),
				 errhint("Check the id: it is the lead's own, not the one of the lead in the "
						 "campaign (campaign_lead_map_id).")));
	sl_arguments_set_text(arguments, "email", sl_json_scalar_text(email));
}

/* The categories' names, for the error that lists them. */
static char *
category_names(const cJSON *categories)
{
	StringInfoData names;
	const cJSON	  *category;

	initStringInfo(&names);
	cJSON_ArrayForEach (category, categories)
	{
		const cJSON *name = sl_json_member(category, "name");

		if (cJSON_IsString(name))
			appendStringInfo(&names, "%s%s", names.len > 0 ? ", " : "", sl_json_scalar_text(name));
	}
	return names.data;
}

void
sl_complete_category_id(const SlConnection *connection, SlArguments *arguments)
{
	const char *wanted = sl_arguments_text(arguments, "category");
	SlAnswer   *answer =
		sl_call(connection, sl_arguments(sl_endpoint_find("list_lead_categories", NULL, 0)));
	const cJSON *categories = sl_answer_rows(answer);
	const cJSON *category;

	cJSON_ArrayForEach (category, categories)
	{
		const cJSON *name = sl_json_member(category, "name");
		int64		 id;

		if (cJSON_IsString(name) && pg_strcasecmp(sl_json_scalar_text(name), wanted) == 0 &&
			sl_json_bigint(sl_json_member(category, "id"), &id))
		{
			sl_arguments_set_bigint(arguments, "category_id", id);
			return;
		}
	}
	ereport(ERROR, (errcode(SL_ERRCODE_NOT_FOUND),
					errmsg("there is no lead category \"%s\" in connection \"%s\"", wanted,
						   connection->name),
					errhint("The categories are: %s.", category_names(categories))));
}
