/*
 * api/answer_jsonb.c
 *		What Smartlead answered, as it is.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "mb/pg_wchar.h"
#include "utils/jsonb.h"

#include "api/call.h"

/* As text it would be returned with whatever passwords are in it. */
static SlProblem *
unreadable(const SlRequest *request, const SlAnswer *answer)
{
	SlProblem *problem = sl_problem_unreadable(request, answer->unreadable);

	if (request->method != SL_GET)
		problem->hint =
			psprintf("Smartlead has accepted the request (HTTP status %d).", answer->status);
	return problem;
}

Jsonb *
sl_answer_jsonb(const SlRequest *request, const SlAnswer *answer)
{
	JsonbValue text;

	if (answer->unreadable != NULL)
		sl_problem_raise(unreadable(request, answer));
	if (answer->root != NULL)
		return sl_json_to_jsonb(answer->root);
	if (answer->text[0] == '\0')
		return NULL;
	if (!pg_verify_mbstr(PG_UTF8, answer->text, strlen(answer->text), true))
		ereport(ERROR, (errcode(SL_ERRCODE_UNREADABLE),
						errmsg("Smartlead's answer is neither JSON nor text")));
	text.type = jbvString;
	text.val.string.val = pg_any_to_server(answer->text, strlen(answer->text), PG_UTF8);
	text.val.string.len = strlen(text.val.string.val);
	return JsonbValueToJsonb(&text);
}
