/*
 * api/request.c
 *		From an endpoint and its arguments to an HTTP request.
 *
 * Smartlead refuses keys that it doesn't know and reads null as "clear it", so a request holds what
 * was given and nothing else.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include <curl/curl.h>

#include "mb/pg_wchar.h"
#include "utils/builtins.h"

#include "api/call.h"

static char *
to_utf8(const char *text)
{
	return pg_server_to_any(text, strlen(text), PG_UTF8);
}

char *
sl_url_encode(const char *text)
{
	char *escaped = curl_easy_escape(NULL, to_utf8(text), 0);
	char *copy;

	if (escaped == NULL)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	copy = pstrdup(escaped);
	curl_free(escaped);
	return copy;
}

/* "/campaigns/{campaign_id}" with the ids in their places. */
static char *
build_path(const SlArguments *arguments)
{
	StringInfoData path;
	const char	  *at = arguments->endpoint->path;

	initStringInfo(&path);
	while (*at != '\0')
	{
		const char *open = strchr(at, '{');
		const char *close = open != NULL ? strchr(open, '}') : NULL;

		if (close == NULL)
		{
			appendStringInfoString(&path, at);
			break;
		}
		appendBinaryStringInfo(&path, at, open - at);
		appendStringInfoString(&path, sl_url_encode(sl_arguments_text(
										  arguments, pnstrdup(open + 1, close - open - 1))));
		at = close + 1;
	}
	return path.data;
}

static const char *
wire_name(const SlParam *param, bool alternative)
{
	if (alternative && param->alternative != NULL)
		return param->alternative;
	return param->wire != NULL ? param->wire : param->name;
}

static char *
build_query(const SlArguments *arguments, SlPageRange page)
{
	const SlParam *params = arguments->endpoint->params;
	StringInfoData query;

	initStringInfo(&query);
	for (int i = 0; params[i].name != NULL; i++)
		if (params[i].place == SL_IN_QUERY && arguments->value[i].text != NULL)
			appendStringInfo(&query, "%s%s=%s", query.len > 0 ? "&" : "",
							 wire_name(&params[i], false), sl_url_encode(arguments->value[i].text));
	if (page.limit > 0)
		appendStringInfo(&query, "%soffset=" INT64_FORMAT "&limit=%d", query.len > 0 ? "&" : "",
						 page.offset, page.limit);
	return query.data;
}

/* "[a, b, c]": the elements from "first" on that one request may hold. */
static void
append_elements(StringInfo body, const SlParam *param, const SlArgument *argument, int first,
				int *next)
{
	int end = argument->n_elements;

	if (param->max_elements > 0)
		end = Min(end, first + param->max_elements);
	appendStringInfoChar(body, '[');
	for (int i = first; i < end; i++)
		appendStringInfo(body, "%s%s", i > first ? "," : "", argument->elements[i]);
	appendStringInfoChar(body, ']');
	if (end < argument->n_elements)
		*next = end;
}

static char *
build_body(const SlArguments *arguments, bool alternative, int first, int *next)
{
	const SlEndpoint *endpoint = arguments->endpoint;
	StringInfoData	  body;

	initStringInfo(&body);
	appendStringInfoChar(&body, '{');
	if (endpoint->fixed_body != NULL)
		appendStringInfoString(&body, endpoint->fixed_body);
	for (int i = 0; endpoint->params[i].name != NULL; i++)
	{
		const SlParam	 *param = &endpoint->params[i];
		const SlArgument *argument = &arguments->value[i];

		if (param->place != SL_IN_BODY || argument->json == NULL)
			continue;
		appendStringInfo(&body, "%s\"%s\":", body.len > 1 ? "," : "",
						 wire_name(param, alternative));
		if (argument->elements != NULL)
			append_elements(&body, param, argument, first, next);
		else
			appendStringInfoString(&body, argument->json);
	}
	appendStringInfoChar(&body, '}');
	return to_utf8(body.data);
}

SlRequest *
sl_request_build(const SlConnection *connection, const SlArguments *arguments, SlPageRange page,
				 bool alternative_names, int first_element, int *next_element)
{
	const SlEndpoint *endpoint = arguments->endpoint;
	SlRequest		 *request = palloc0(sizeof(SlRequest));
	char			 *body;

	*next_element = 0;
	request->connection = connection;
	request->endpoint = endpoint->name;
	request->method = endpoint->method;
	request->path = build_path(arguments);
	request->query = build_query(arguments, page);
	request->repeatable = endpoint->repeatable;
	request->rows_expected = endpoint->kind == SL_LISTING;
	request->id_expected = endpoint->makes_an_id;
	request->priority = SL_RATE_INTERACTIVE;
	if (endpoint->method != SL_GET)
	{
		body = build_body(arguments, alternative_names, first_element, next_element);
		/* A POST without fields carries "{}", as Smartlead's own clients send it; a DELETE nothing. */
		if (endpoint->method != SL_DELETE || strcmp(body, "{}") != 0)
			request->body = body;
	}
	return request;
}
