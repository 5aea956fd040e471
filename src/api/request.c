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

/* What the body is made of. */
typedef struct Body
{
	const SlArguments *arguments;
	bool			   alternative; /* spellings */
	int				   first;		/* of a list's elements */
	int				  *next;
	StringInfoData	   text;
} Body;

/* The name of a parameter that is given and goes into the body, if it begins with this; or NULL. */
static const char *
name_after(const Body *body, int i, const char *prefix, int length)
{
	const SlParam *param = &body->arguments->endpoint->params[i];
	const char	  *name = wire_name(param, body->alternative);

	if (param->place != SL_IN_BODY || body->arguments->value[i].json == NULL ||
		strncmp(name, prefix, length) != 0)
		return NULL;
	return name + length;
}

static void
append_name(Body *body, const char *name, int length)
{
	if (body->text.data[body->text.len - 1] != '{')
		appendStringInfoChar(&body->text, ',');
	appendStringInfo(&body->text, "\"%.*s\":", length, name);
}

static void
append_value(Body *body, int i)
{
	const SlArgument *argument = &body->arguments->value[i];

	if (argument->elements != NULL)
		append_elements(&body->text, &body->arguments->endpoint->params[i], argument, body->first,
						body->next);
	else
		appendStringInfoString(&body->text, argument->json);
}

/* The members whose names begin with the prefix: with "settings." those of the object "settings". */
static void
append_members(Body *body, const char *prefix, int length)
{
	const SlParam *params = body->arguments->endpoint->params;

	for (int i = 0; params[i].name != NULL; i++)
	{
		const char *name = name_after(body, i, prefix, length);
		const char *dot = name != NULL ? strchr(name, '.') : NULL;
		bool		begun = false;

		if (name == NULL)
			continue;
		if (dot == NULL)
		{
			append_name(body, name, strlen(name));
			append_value(body, i);
			continue;
		}
		for (int j = 0; j < i && !begun; j++)
			begun = name_after(body, j, name - length, dot + 1 - name + length) != NULL;
		if (begun)
			continue;
		append_name(body, name, dot - name);
		appendStringInfoChar(&body->text, '{');
		append_members(body, name - length, dot + 1 - name + length);
		appendStringInfoChar(&body->text, '}');
	}
}

static char *
build_body(const SlArguments *arguments, bool alternative, int first, int *next)
{
	Body body = {arguments, alternative, first, next};

	initStringInfo(&body.text);
	appendStringInfoChar(&body.text, '{');
	if (arguments->endpoint->fixed_body != NULL)
		appendStringInfoString(&body.text, arguments->endpoint->fixed_body);
	append_members(&body, "", 0);
	appendStringInfoChar(&body.text, '}');
	return to_utf8(body.text.data);
}

/* Smartlead's other services have addresses of their own; the key goes nowhere else. */
static void
check_host(const SlConnection *connection, const SlEndpoint *endpoint)
{
	const char *option = sl_connection_url_option(endpoint->host);

	if (connection->url[endpoint->host] == NULL)
		ereport(ERROR, (errcode(ERRCODE_FDW_OPTION_NAME_NOT_FOUND),
						errmsg("connection \"%s\" has no address for \"%s\"", connection->name,
							   endpoint->name),
						errdetail("Its base_url is not Smartlead's own, so the key is not sent to "
								  "another address of Smartlead."),
						errhint("Set it: ALTER SERVER %s OPTIONS (ADD %s ...).",
								quote_identifier(connection->name), option)));
}

SlRequest *
sl_request_build(const SlConnection *connection, const SlArguments *arguments, SlPageRange page,
				 bool alternative_names, int first_element, int *next_element)
{
	const SlEndpoint *endpoint = arguments->endpoint;
	SlRequest		 *request = palloc0(sizeof(SlRequest));
	char			 *body;

	*next_element = 0;
	check_host(connection, endpoint);
	request->connection = connection;
	request->host = endpoint->host;
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
