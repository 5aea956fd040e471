/*
 * api/campaigns.c
 *		What campaigns need beyond the endpoint table: the whole row of a new one.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "access/htup_details.h"

#include "api/call.h"
#include "api/function.h"

PG_FUNCTION_INFO_V1(smartlead_create_campaign);

/* What the answer to the creation and the arguments tell. */
static void
fill_known(cJSON *created, const SlArguments *arguments)
{
	const char *client_id = sl_arguments_text(arguments, "client_id");

	sl_json_set(created, "ok", NULL);
	sl_json_set(created, "success", NULL);
	if (sl_json_member(created, "status") == NULL)
		sl_json_set(created, "status", "DRAFTED");
	if (client_id != NULL && sl_json_member(created, "client_id") == NULL)
		sl_json_set(created, "client_id", client_id);
}

/* Leaves the id alone, which is the least that a caller must learn. */
static void
keep_id(cJSON *created)
{
	const cJSON *next;

	for (const cJSON *member = created->child; member != NULL; member = next)
	{
		next = member->next;
		if (strcmp(member->string, "id") != 0)
			sl_json_set(created, member->string, NULL);
	}
}

/* The campaign as Smartlead reads it back, or NULL when that can't be had now. */
static const cJSON *
read_back(const SlConnection *connection, const cJSON *created)
{
	static const char *const campaign_id_only[] = {"campaign_id"};
	SlArguments *arguments = sl_arguments(sl_endpoint_find("get_campaign", campaign_id_only, 1));
	SlAnswer	*answer;
	const cJSON *campaign;
	int64		 id, read_id;

	if (!sl_json_bigint(sl_json_member(created, "id"), &id))
		return NULL;
	sl_arguments_set_bigint(arguments, "campaign_id", id);
	answer = sl_call_try(connection, arguments);
	campaign = answer->problem == NULL ? sl_answer_object(answer) : NULL;
	/* The caller must never learn another campaign's id. */
	if (campaign == NULL || !sl_json_bigint(sl_json_member(campaign, "id"), &read_id) ||
		read_id != id)
		return NULL;
	return campaign;
}

/* The campaign as a row, or NULL, with *why set, when something in it can't be read. */
static HeapTuple
campaign_row(TupleDesc descriptor, const cJSON *campaign, char **why)
{
	Datum *values = palloc(sizeof(Datum) * descriptor->natts);
	bool  *nulls = palloc(sizeof(bool) * descriptor->natts);

	*why = sl_record_read(sl_record_reader(descriptor, NULL), campaign, values, nulls);
	return *why == NULL ? heap_form_tuple(descriptor, values, nulls) : NULL;
}

/*
 * The new campaign, as much of it as can be had. It is there, so nothing that goes wrong from now on
 * may look as if it were not.
 */
static HeapTuple
new_campaign(TupleDesc descriptor, const SlConnection *connection, const SlArguments *arguments,
			 cJSON *created)
{
	const cJSON *campaign = read_back(connection, created);
	HeapTuple	 row = NULL;
	char		*why;
	SlRequest	 request = {.endpoint = "create_campaign"};

	if (campaign != NULL)
		row = campaign_row(descriptor, campaign, &why);
	if (row == NULL)
	{
		fill_known(created, arguments);
		row = campaign_row(descriptor, created, &why);
	}
	if (row == NULL)
	{
		keep_id(created);
		row = campaign_row(descriptor, created, &why);
	}
	if (row == NULL)
		sl_problem_raise(sl_problem_unknown_outcome(&request, why));
	return row;
}

/*
 * smartlead_create_campaign(name text, client_id bigint, connection name) → smartlead_campaign
 *
 * POST /campaigns/create, then GET /campaigns/{id}, since the first answers with little. When the
 * second can't be had or read, the row holds what is known and the rest is NULL. When the first
 * answers without an id, the outcome is unknown (SL520).
 */
Datum
smartlead_create_campaign(PG_FUNCTION_ARGS)
{
	const SlFunction *function = sl_function(fcinfo);
	MemoryContext	  caller, own;
	SlArguments		 *arguments;
	SlConnection	 *connection;
	cJSON			 *created;
	TupleDesc		  descriptor;
	HeapTuple		  row;
	Datum			  result;

	if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	descriptor = BlessTupleDesc(descriptor);
	caller = sl_function_begin();
	arguments = sl_function_arguments(function, fcinfo);
	sl_function_check_writable(arguments->endpoint);
	connection = sl_function_connection(function, fcinfo);
	created = (cJSON *) sl_answer_object(sl_call(connection, arguments));
	row = new_campaign(descriptor, connection, arguments, created);
	own = MemoryContextSwitchTo(caller);
	result = heap_copy_tuple_as_datum(row, descriptor);
	MemoryContextDelete(own);
	PG_RETURN_DATUM(result);
}
