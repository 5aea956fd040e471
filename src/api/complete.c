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
#include "api/found.h"

static SlArguments *
ask_lead(const SlArguments *arguments)
{
	static const char *const lead_id_only[] = {"lead_id"};
	SlArguments				*question;

	if (sl_arguments_text(arguments, "email") != NULL)
		return NULL;
	question = sl_arguments(sl_endpoint_find("get_lead", lead_id_only, 1));
	sl_arguments_set_text(question, "lead_id", sl_arguments_text(arguments, "lead_id"));
	return question;
}

static void
take_lead_email(const SlConnection *connection, SlArguments *arguments, const SlAnswer *answer)
{
	const cJSON *email = sl_json_member(sl_answer_object(answer), "email");

	if (!cJSON_IsString(email))
		ereport(ERROR,
				(errcode(SL_ERRCODE_NOT_FOUND),
				 errmsg("Smartlead has no lead %s", sl_arguments_text(arguments, "lead_id")),
				 errhint("Check the id: it is the lead's own, not the one of the lead in the "
						 "campaign (campaign_lead_map_id).")));
	sl_arguments_set_text(arguments, "email", sl_json_scalar_text(email));
	sl_found_keep(connection, &sl_complete_lead_email, sl_arguments_text(arguments, "lead_id"),
				  sl_json_scalar_text(email));
}

const SlCompletion sl_complete_lead_email = {ask_lead, take_lead_email, "lead_id", "email"};

static SlArguments *
ask_lead_by_email(const SlArguments *arguments)
{
	static const char *const email_only[] = {"email"};
	SlArguments				*question;

	if (sl_arguments_text(arguments, "lead_id") != NULL)
		return NULL;
	question = sl_arguments(sl_endpoint_find("get_lead", email_only, 1));
	sl_arguments_set_text(question, "email", sl_arguments_text(arguments, "email"));
	return question;
}

static void
take_lead_id(const SlConnection *connection, SlArguments *arguments, const SlAnswer *answer)
{
	int64 id;

	if (!sl_json_bigint(sl_json_member(sl_answer_object(answer), "id"), &id))
		ereport(ERROR, (errcode(SL_ERRCODE_NOT_FOUND),
						errmsg("Smartlead has no lead with the address \"%s\"",
							   sl_arguments_text(arguments, "email"))));
	sl_arguments_set_bigint(arguments, "lead_id", id);
}

const SlCompletion sl_complete_lead_id = {ask_lead_by_email, take_lead_id};

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

static SlArguments *
ask_categories(const SlArguments *arguments)
{
	return sl_arguments(sl_endpoint_find("list_lead_categories", NULL, 0));
}

static void
take_category_id(const SlConnection *connection, SlArguments *arguments, const SlAnswer *answer)
{
	const char	*wanted = sl_arguments_text(arguments, "category");
	const cJSON *categories = sl_answer_rows(answer);
	const cJSON *category;
	bool		 found = false;

	cJSON_ArrayForEach (category, categories)
	{
		const cJSON *name = sl_json_member(category, "name");
		int64		 id;

		if (!cJSON_IsString(name) || !sl_json_bigint(sl_json_member(category, "id"), &id))
			continue;
		if (!found && pg_strcasecmp(sl_json_scalar_text(name), wanted) == 0)
		{
			sl_arguments_set_bigint(arguments, "category_id", id);
			found = true;
		}
		/* Of two of one name the first one counts. */
		if (sl_found_recall(connection, &sl_complete_category_id, sl_json_scalar_text(name)) ==
			NULL)
			sl_found_keep(connection, &sl_complete_category_id, sl_json_scalar_text(name),
						  psprintf(INT64_FORMAT, id));
	}
	if (found)
		return;
	ereport(ERROR, (errcode(SL_ERRCODE_NOT_FOUND),
					errmsg("there is no lead category \"%s\" in connection \"%s\"", wanted,
						   connection->name),
					errhint("The categories are: %s.", category_names(categories))));
}

const SlCompletion sl_complete_category_id = {ask_categories, take_category_id, "category",
											  "category_id"};

/* ---- for those who call ---- */

SlArguments *
sl_complete_ask(const SlConnection *connection, SlArguments *arguments)
{
	const SlCompletion *completion = arguments->endpoint->completion;
	SlArguments		   *question = completion != NULL ? completion->ask(arguments) : NULL;
	char			   *found;

	if (completion == NULL || completion->from == NULL)
		return question;
	if (question == NULL)
	{
		/* It was given, and may be another one from now on. */
		sl_complete_forget(connection, arguments);
		return NULL;
	}
	found = sl_found_recall(connection, completion, sl_arguments_text(arguments, completion->from));
	if (found == NULL)
		return question;
	if (arguments->endpoint->params[sl_endpoint_param(arguments->endpoint, completion->found)]
			.type == SL_BIGINT)
		sl_arguments_set_bigint(arguments, completion->found, strtoll(found, NULL, 10));
	else
		sl_arguments_set_text(arguments, completion->found, found);
	return NULL;
}

void
sl_complete_forget(const SlConnection *connection, const SlArguments *arguments)
{
	const SlCompletion *completion = arguments->endpoint->completion;

	if (completion != NULL && completion->from != NULL)
		sl_found_forget(connection, completion, sl_arguments_text(arguments, completion->from));
}
