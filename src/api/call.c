/*
 * api/call.c
 *		One call of an endpoint: all the requests that it takes, one after the other.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "api/call.h"
#include "api/complete.h"

static const SlPageRange no_page = {0, 0};

static SlAnswer *
perform(const SlRequest *request, const SlEndpoint *endpoint)
{
	SlTransfer		 *transfer = sl_transfer_start(request);
	const SlResponse *response = sl_transfer_wait(transfer);

	return sl_answer_read(request, endpoint->kind, endpoint->has_passwords, response);
}

/* One request of a call; in another spelling if the first one is refused. */
static SlAnswer *
perform_part(const SlConnection *connection, SlArguments *arguments, int first, int *next)
{
	const SlEndpoint *endpoint = arguments->endpoint;
	SlAnswer		 *answer =
		perform(sl_request_build(connection, arguments, no_page, false, first, next), endpoint);

	if (answer->problem != NULL && sl_answer_refuses_name(answer, arguments))
		answer =
			perform(sl_request_build(connection, arguments, no_page, true, first, next), endpoint);
	return answer;
}

static void
add_count(const SlAnswer *answer, const char *field, int64 *count, bool *known)
{
	int64		 number;
	const cJSON *member = sl_json_member(answer->root, field);

	*known = *known && member != NULL && sl_json_bigint(member, &number);
	if (*known)
		*count += number;
}

/* Finds out what Smartlead demands and was not given. */
static void
complete(const SlConnection *connection, SlArguments *arguments)
{
	SlArguments *question = sl_complete_ask(connection, arguments);

	if (question != NULL)
		arguments->endpoint->completion->take(connection, arguments, sl_call(connection, question));
}

static SlAnswer *
perform_all(const SlConnection *connection, SlArguments *arguments, int64 *count, bool *known)
{
	const SlEndpoint *endpoint = arguments->endpoint;
	SlAnswer		 *answer;
	int				  next = 0;

	complete(connection, arguments);
	do
	{
		answer = perform_part(connection, arguments, next, &next);
		if (count != NULL && answer->problem == NULL && endpoint->count_field != NULL)
			add_count(answer, endpoint->count_field, count, known);
	} while (answer->problem == NULL && next > 0);
	if (answer->problem != NULL)
		sl_complete_forget(connection, arguments);
	return answer;
}

SlAnswer *
sl_call_try(const SlConnection *connection, SlArguments *arguments)
{
	return perform_all(connection, arguments, NULL, NULL);
}

SlAnswer *
sl_call(const SlConnection *connection, SlArguments *arguments)
{
	SlAnswer *answer = sl_call_try(connection, arguments);

	if (answer->problem != NULL)
		sl_problem_raise(answer->problem);
	return answer;
}

bool
sl_call_count(const SlConnection *connection, SlArguments *arguments, int64 *count)
{
	bool	  known = true;
	SlAnswer *answer;

	*count = 0;
	answer = perform_all(connection, arguments, count, &known);
	if (answer->problem != NULL)
		sl_problem_raise(answer->problem);
	return known && arguments->endpoint->count_field != NULL;
}
