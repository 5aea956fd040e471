/*
 * api/raw.c
 *		The escape hatch: any request, for what has no function yet.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include <curl/curl.h>

#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "api/call.h"
#include "api/function.h"

PG_FUNCTION_INFO_V1(smartlead_request);

static SlMethod
read_method(const char *text)
{
	static const struct
	{
		const char *name;
		SlMethod	method;
	} methods[] = {{"GET", SL_GET},
				   {"POST", SL_POST},
				   {"PUT", SL_PUT},
				   {"PATCH", SL_PATCH},
				   {"DELETE", SL_DELETE}};

	for (int i = 0; i < lengthof(methods); i++)
		if (pg_strcasecmp(methods[i].name, text) == 0)
			return methods[i].method;
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("invalid method \"%s\"", text),
					errhint("Valid methods are GET, POST, PUT, PATCH and DELETE.")));
}

/* Takes "%2e" for "." and so on, in place; false: a percent sign begins no character. */
static bool
decode_percents(char *text)
{
	char *to = text;

	for (const char *from = text; *from != '\0'; from++, to++)
	{
		*to = *from;
		if (*from == '%')
		{
			char digits[3] = {from[1], from[1] != '\0' ? from[2] : '\0', '\0'};

			if (strspn(digits, "0123456789abcdefABCDEF") != 2)
				return false;
			*to = (char) strtol(digits, NULL, 16);
			if (*to == '\0')
				return false;
			from += 2;
		}
	}
	*to = '\0';
	return true;
}

/* Does a step stand still or lead up? Some servers take what follows a ";" for no part of a step. */
static bool
has_dot_step(const char *path)
{
	for (const char *step = path; *step != '\0'; step += strcspn(step, "/\\"))
	{
		size_t length;

		step++; /* past the slash */
		length = strcspn(step, "/\\;");
		if ((length == 1 || length == 2) && strspn(step, ".") >= length)
			return true;
	}
	return false;
}

/* What is wrong with the path as the service may read it: decoded, and by a proxy of its once more. */
static const char *
decoded_path_problem(const char *path)
{
	char *decoded = pstrdup(path);

	if (!decode_percents(decoded))
		return "A percent sign must begin an encoded character, such as %20.";
	do
	{
		for (const char *c = decoded; *c != '\0'; c++)
			if ((unsigned char) *c < ' ' || *c == 127)
				return "It must not hold control characters, not even encoded ones.";
		if (has_dot_step(decoded))
			return "It must not hold \".\" or \"..\" steps, not even encoded ones.";
	} while (strchr(decoded, '%') != NULL && decode_percents(decoded));
	return NULL;
}

/* A path below base_url, and nothing that would lead elsewhere or smuggle in a query. */
static char *
read_path(const char *path)
{
	const char *why = NULL;

	if (path[0] != '/')
		why = "It must begin with a slash: it is appended to base_url.";
	else if (strpbrk(path, "?#\\") != NULL)
		why = "It must not hold a query or a fragment; give the query in its own argument.";
	else if (strstr(path, "//") != NULL)
		why = "It must not hold empty steps.";
	for (const char *c = path; *c != '\0' && why == NULL; c++)
		if (*c <= ' ' || *c > '~')
			why = "It must hold visible ASCII characters only; percent-encode others.";
	if (why == NULL)
		why = decoded_path_problem(path);
	if (why != NULL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("invalid path"),
						errdetail_internal("%s", why)));
	return pstrdup(path);
}

static char *
jsonb_scalar_text(const JsonbValue *value, const char *key)
{
	switch (value->type)
	{
		case jbvString:
			return pnstrdup(value->val.string.val, value->val.string.len);
		case jbvNumeric:
			return DatumGetCString(
				DirectFunctionCall1(numeric_out, NumericGetDatum(value->val.numeric)));
		case jbvBool:
			return value->val.boolean ? "true" : "false";
		default:
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("query parameter \"%s\" must be a text, a number or a boolean", key)));
	}
}

/* {"offset": 0, "limit": 10} as "offset=0&limit=10"; null members are left out. */
static char *
read_query(Jsonb *query)
{
	StringInfoData	   text;
	JsonbIterator	  *iterator = JsonbIteratorInit(&query->root);
	JsonbIteratorToken token;
	JsonbValue		   value;
	const char		  *key = ""; /* each value follows its key */

	if (!JB_ROOT_IS_OBJECT(query))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("the query must be a JSON object")));
	initStringInfo(&text);
	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			key = pnstrdup(value.val.string.val, value.val.string.len);
		if (token != WJB_VALUE || value.type == jbvNull)
			continue;
		if (strcmp(key, "api_key") == 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("the query must not hold an API key"),
					 errhint("The key of the connection's user mapping is added by itself.")));
		appendStringInfo(&text, "%s%s=%s", text.len > 0 ? "&" : "", sl_url_encode(key),
						 sl_url_encode(jsonb_scalar_text(&value, key)));
	}
	return text.data;
}

static char *
read_body(Jsonb *body)
{
	char *text = JsonbToCString(NULL, &body->root, VARSIZE(body));

	return pg_server_to_any(text, strlen(text), PG_UTF8);
}

/*
 * Routes whose answers hold passwords: e-mail accounts come with theirs, a new client with its. The
 * service takes a path decoded and in any case, so that is how it is looked at here.
 */
static bool
may_hold_passwords(const char *path)
{
	char *decoded = curl_easy_unescape(NULL, path, 0, NULL);
	bool  may = true;

	if (decoded != NULL)
	{
		for (char *c = decoded; *c != '\0'; c++)
			*c = pg_tolower((unsigned char) *c);
		may = strstr(decoded, "email-account") != NULL || strstr(decoded, "/client") != NULL;
	}
	curl_free(decoded);
	return may;
}

/*
 * smartlead_request(method text, path text, query jsonb, body jsonb, connection name) → jsonb
 *
 * Any route below base_url, with everything that the functions have: the key, the rate limit,
 * retries of what only reads, errors by class. Passwords of e-mail accounts and clients are left
 * out. A method other than GET raises in a read-only transaction.
 */
Datum
smartlead_request(PG_FUNCTION_ARGS)
{
	SlRequest	  request = {.endpoint = "request", .priority = SL_RATE_INTERACTIVE};
	MemoryContext caller, own;
	SlAnswer	 *answer;
	Jsonb		 *result;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("method and path must not be NULL")));
	caller = sl_function_begin();
	request.method = read_method(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	request.repeatable = request.method == SL_GET;
	if (request.method != SL_GET)
		PreventCommandIfReadOnly("smartlead_request()");
	request.path = read_path(text_to_cstring(PG_GETARG_TEXT_PP(1)));
	request.query = PG_ARGISNULL(2) ? NULL : read_query(PG_GETARG_JSONB_P(2));
	request.body = PG_ARGISNULL(3) ? (request.method == SL_POST ? "{}" : NULL)
								   : read_body(PG_GETARG_JSONB_P(3));
	request.connection =
		sl_connection_resolve(PG_ARGISNULL(4) ? NULL : NameStr(*PG_GETARG_NAME(4)), GetUserId());
	answer = sl_answer_read(&request, SL_ACTION, may_hold_passwords(request.path),
							sl_transfer_wait(sl_transfer_start(&request)));
	if (answer->problem != NULL)
		sl_problem_raise(answer->problem);
	own = MemoryContextSwitchTo(caller);
	result = sl_answer_jsonb(&request, answer);
	MemoryContextDelete(own);
	if (result == NULL)
		PG_RETURN_NULL();
	PG_RETURN_JSONB_P(result);
}
