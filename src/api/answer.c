/*
 * api/answer.c
 *		Reads what Smartlead answered and judges it: did it work, and if not, why not.
 *
 * Smartlead reports errors in six shapes, some of them with status 200; and a 2xx may come with a
 * bare word, a plain text or nothing at all. All of that is understood here and nowhere else.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include <ctype.h>

#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "api/call.h"
#include "http/redact.h"

#define MAX_SAID 500

/* ---- what Smartlead said ---- */

/*
 * Outside text fit for a message: no key, no control characters, in the server's encoding, not too
 * long.
 */
static char *
presentable(const SlConnection *connection, const char *text)
{
	char *clean = sl_redact(connection, text);
	bool  valid = pg_verify_mbstr(PG_UTF8, clean, strlen(clean), true);
	bool  keep_high = valid && GetDatabaseEncoding() == PG_UTF8;

	for (unsigned char *c = (unsigned char *) clean; *c != '\0'; c++)
		if (*c < ' ' || *c == 127)
			*c = ' ';
		else if (*c > 127 && !keep_high)
			*c = '?';
	if (strlen(clean) > MAX_SAID)
		memcpy(clean + pg_mbcliplen(clean, strlen(clean), MAX_SAID - 4), "...", 4);
	return clean;
}

static const char *
string_member(const cJSON *object, const char *name)
{
	const cJSON *member = sl_json_member(object, name);

	return cJSON_IsString(member) && member->valuestring[0] != '\0' ? member->valuestring : NULL;
}

/* The words for the user in an error's JSON, in the order in which they are telling. */
static const char *
said_in_json(const cJSON *root)
{
	const char *said = NULL;

	if (sl_json_member(root, "validation") != NULL)
		said = string_member(root, "message");
	if (said == NULL)
		said = string_member(root, "error");
	if (said == NULL)
		said = string_member(sl_json_member(root, "error"), "message");
	if (said == NULL)
		said = string_member(root, "message");
	if (said == NULL && cJSON_IsString(root))
		said = root->valuestring;
	return said;
}

static bool
is_blank(const char *text)
{
	while (isspace((unsigned char) *text))
		text++;
	return *text == '\0';
}

static bool
is_markup(const char *text)
{
	while (isspace((unsigned char) *text))
		text++;
	return *text == '<';
}

/* What begins like this is meant to be read, not to be shown. */
static bool
looks_like_json(const char *text)
{
	while (isspace((unsigned char) *text))
		text++;
	return *text == '{' || *text == '[';
}

/* Express's error page: the words are in its <pre>. Of other pages, the title. */
static char *
said_in_markup(const char *text)
{
	static const char *const tags[][2] = {{"<pre>", "</pre>"}, {"<title>", "</title>"}};

	for (int i = 0; i < lengthof(tags); i++)
	{
		const char *open = strstr(text, tags[i][0]);
		const char *close = open != NULL ? strstr(open, tags[i][1]) : NULL;

		if (close != NULL)
			return pnstrdup(open + strlen(tags[i][0]), close - open - strlen(tags[i][0]));
	}
	return NULL;
}

static char *
what_was_said(const SlRequest *request, const SlAnswer *answer)
{
	const char *said = NULL;

	if (answer->root != NULL)
		said = said_in_json(answer->root);
	else if (is_markup(answer->text))
		said = said_in_markup(answer->text);
	else if (!is_blank(answer->text))
		said = answer->text;
	return said != NULL ? presentable(request->connection, said) : NULL;
}

/* ---- the classes of problems ---- */

static SlProblem *
problem(int sqlstate, char *message, char *detail, char *hint)
{
	SlProblem *made = palloc0(sizeof(SlProblem));

	made->sqlstate = sqlstate;
	made->message = message;
	made->detail = detail;
	made->hint = hint;
	return made;
}

SlProblem *
sl_problem_unreadable(const SlRequest *request, const char *why)
{
	return problem(SL_ERRCODE_UNREADABLE,
				   psprintf("Smartlead's answer to \"%s\" can't be read", request->endpoint),
				   pstrdup(why), NULL);
}

SlProblem *
sl_problem_unknown_outcome(const SlRequest *request, char *detail)
{
	return problem(
		SL_ERRCODE_UNKNOWN_OUTCOME,
		psprintf("the outcome of \"%s\" at Smartlead is unknown", request->endpoint), detail,
		pstrdup("It was not repeated, because that could do it twice. Look at Smartlead whether it "
				"was done before you call again."));
}

static SlProblem *
throttled(const SlRequest *request, char *detail)
{
	return problem(SL_ERRCODE_THROTTLED,
				   psprintf("Smartlead's rate limit for connection \"%s\" is used up",
							request->connection->name),
				   detail,
				   psprintf("Other programs may use the same key. Lower the option "
							"\"rate_limit\" of server %s, or try again later.",
							quote_identifier(request->connection->name)));
}

/* When it is worth another try, if that is longer than the call itself would have waited. */
static void
hint_at_wait(SlProblem *made, const SlConnection *connection, const SlResponse *response)
{
	TimestampTz at = GetCurrentTimestamp() + response->retry_after * USECS_PER_SEC;

	if (!sl_wait_is_too_long(connection, response) ||
		(made->sqlstate != SL_ERRCODE_THROTTLED && made->sqlstate != SL_ERRCODE_UNAVAILABLE))
		return;
	made->hint =
		psprintf("Try again in %d s, at %s, as Smartlead asks: a call waits no longer than the "
				 "option \"max_wait\" of server %s (%d ms).",
				 response->retry_after, timestamptz_to_str(at), quote_identifier(connection->name),
				 connection->max_wait_ms);
}

/* There was no answer. */
static SlProblem *
transport_problem(const SlRequest *request, const SlResponse *response)
{
	char *detail = pstrdup(response->problem != NULL ? response->problem : "No answer came.");

	if (response->outcome == SL_HELD_BACK)
		return throttled(request, detail);
	if (response->outcome != SL_NOT_SENT && !request->repeatable)
		return sl_problem_unknown_outcome(request, detail);
	switch (response->outcome)
	{
		case SL_TIMED_OUT:
			return problem(
				SL_ERRCODE_TIMEOUT,
				psprintf("Smartlead did not answer \"%s\" in time", request->endpoint), detail,
				psprintf("Try again later, or raise the option \"timeout\" of server %s.",
						 quote_identifier(request->connection->name)));
		case SL_TOO_LARGE:
			return sl_problem_unreadable(request, detail);
		case SL_NOT_SENT:
			return problem(SL_ERRCODE_UNAVAILABLE,
						   psprintf("could not reach Smartlead for \"%s\"", request->endpoint),
						   detail,
						   psprintf("Check the network, and %s of server %s.",
									sl_connection_url_option(request->host),
									quote_identifier(request->connection->name)));
		default:
			return problem(
				SL_ERRCODE_UNAVAILABLE,
				psprintf("the connection to Smartlead broke during \"%s\"", request->endpoint),
				detail, NULL);
	}
}

static SlProblem *
key_problem(const SlRequest *request, char *detail)
{
	const char *name = request->connection->name;

	return problem(SL_ERRCODE_BAD_KEY,
				   psprintf("Smartlead does not accept the API key of connection \"%s\"", name),
				   detail,
				   psprintf("Set a valid key: ALTER USER MAPPING FOR ... SERVER %s OPTIONS (SET "
							"api_key ...).",
							quote_identifier(name)));
}

static SlProblem *
status_problem(const SlRequest *request, int status, char *detail)
{
	const char *endpoint = request->endpoint;

	switch (status)
	{
		case 401:
			return key_problem(request, detail);
		case 403:
			return problem(SL_ERRCODE_NO_PERMISSION,
						   psprintf("Smartlead does not permit \"%s\" to connection \"%s\"",
									endpoint, request->connection->name),
						   detail,
						   pstrdup("The plan of the workspace may come without API access, or the "
								   "key may belong to a client with fewer rights."));
		case 404:
			return problem(SL_ERRCODE_NOT_FOUND,
						   psprintf("Smartlead did not find the object of \"%s\"", endpoint),
						   detail,
						   pstrdup("Check the ids, and that they belong to this connection's "
								   "workspace."));
		case 408:
			return problem(SL_ERRCODE_TIMEOUT,
						   psprintf("Smartlead did not answer \"%s\" in time", endpoint), detail,
						   NULL);
		case 406:
		case 409:
			return problem(SL_ERRCODE_REFUSED, psprintf("Smartlead refused \"%s\"", endpoint),
						   detail, NULL);
		case 429:
			return throttled(request, detail);
		default:
			break;
	}
	if (status >= 500 && !request->repeatable)
		return sl_problem_unknown_outcome(request, detail);
	if (status >= 500)
		return problem(SL_ERRCODE_UNAVAILABLE,
					   psprintf("Smartlead failed to answer \"%s\"", endpoint), detail,
					   pstrdup("Try again later."));
	if (status >= 400)
		return problem(SL_ERRCODE_INVALID_ARGUMENT,
					   psprintf("Smartlead refused the arguments of \"%s\"", endpoint), detail,
					   NULL);
	return problem(SL_ERRCODE_UNREADABLE,
				   psprintf("Smartlead's answer to \"%s\" can't be read", endpoint), detail,
				   psprintf("Redirects are not followed. Check %s of server %s.",
							sl_connection_url_option(request->host),
							quote_identifier(request->connection->name)));
}

static char *
said_detail(const char *said, int status)
{
	if (said == NULL)
		return psprintf("Smartlead answered with HTTP status %d and no message.", status);
	return psprintf("Smartlead said: %s (HTTP status %d)", said, status);
}

/* Refused by a web page: by what stands before Smartlead, which doesn't look at keys. */
static SlProblem *
refused_by_front(const SlRequest *request, char *detail)
{
	return problem(SL_ERRCODE_NO_PERMISSION,
				   psprintf("\"%s\" was refused before it came to Smartlead", request->endpoint),
				   detail,
				   pstrdup("The answer is a web page of a proxy or firewall, and tells nothing "
						   "about the API key. Try again later; if it stays so, ask whether this "
						   "server's address is blocked."));
}

/* A route that Smartlead doesn't know is answered with a web page: the ids are not to blame. */
static SlProblem *
unknown_route(const SlRequest *request, char *detail)
{
	return problem(
		SL_ERRCODE_NOT_FOUND,
		psprintf("there is no such route at Smartlead for \"%s\"", request->endpoint), detail,
		psprintf("Check the path, and %s of server %s.", sl_connection_url_option(request->host),
				 quote_identifier(request->connection->name)));
}

/* {"ok": false} or {"success": false}: a failure, whatever the status says. */
static bool
denies_success(const cJSON *root)
{
	return cJSON_IsFalse(sl_json_member(root, "ok")) ||
		   cJSON_IsFalse(sl_json_member(root, "success"));
}

/* null, false, "", {} and []. */
static bool
is_void(const cJSON *node)
{
	return node == NULL || cJSON_IsNull(node) || cJSON_IsFalse(node) ||
		   (cJSON_IsString(node) && is_blank(node->valuestring)) ||
		   ((cJSON_IsObject(node) || cJSON_IsArray(node)) && node->child == NULL);
}

/* {"error": …} and nothing besides that was asked for: a failure, too. */
static bool
tells_an_error(const cJSON *root)
{
	static const char *const errors[] = {"error", "errors", "errorCode"};
	bool					 told = false;

	for (int i = 0; i < lengthof(errors); i++)
		told |= !is_void(sl_json_member(root, errors[i]));
	return told && !cJSON_IsTrue(sl_json_member(root, "ok")) &&
		   !cJSON_IsTrue(sl_json_member(root, "success")) &&
		   is_void(sl_json_member(root, "data")) && sl_json_member(root, "id") == NULL;
}

/* Is there nothing in the answer to a lookup but words about it? Then there is no such object. */
static bool
says_nothing(const cJSON *root)
{
	static const char *const words[] = {"ok", "success", "message", "status", "statusCode"};
	const cJSON				*member;

	if (!cJSON_IsObject(root))
		return is_void(root);
	cJSON_ArrayForEach (member, root)
	{
		bool is_word = false;

		for (int i = 0; i < lengthof(words); i++)
			is_word |= strcmp(member->string, words[i]) == 0;
		if (!is_word && !is_void(member))
			return false;
	}
	return true;
}

/* A 2xx: is it one? */
static SlProblem *
success_problem(const SlRequest *request, const SlAnswer *answer, SlKind kind, const char *why)
{
	if (denies_success(answer->root) || tells_an_error(answer->root))
		return problem(SL_ERRCODE_REFUSED, psprintf("Smartlead refused \"%s\"", request->endpoint),
					   said_detail(what_was_said(request, answer), answer->status), NULL);
	if (request->id_expected && sl_answer_object(answer) == NULL)
		return sl_problem_unknown_outcome(
			request, pstrdup(is_markup(answer->text) ? "The answer is a web page."
													 : "The answer holds no id of what was made."));
	if (kind == SL_LOOKUP && answer->root != NULL && sl_answer_object(answer) == NULL &&
		!says_nothing(answer->root))
		return sl_problem_unreadable(request, "It holds no object with an id.");
	if (answer->root != NULL || (kind == SL_LOOKUP && is_blank(answer->text)))
		return NULL;
	if (kind == SL_LISTING && is_blank(answer->text))
		return sl_problem_unreadable(request, "It is empty where rows were due.");
	/* An action is done whatever words confirm it, unless they are some other server's web page. */
	if (kind == SL_ACTION && !is_markup(answer->text))
		return NULL;
	if (kind == SL_ACTION && !request->repeatable)
		return sl_problem_unknown_outcome(request, pstrdup("The answer is a web page."));
	return sl_problem_unreadable(request, is_markup(answer->text) ? "It is a web page." : why);
}

SlAnswer *
sl_answer_read(const SlRequest *request, SlKind kind, bool has_passwords,
			   const SlResponse *response)
{
	SlAnswer   *answer = palloc0(sizeof(SlAnswer));
	const char *why = "It is not JSON.";

	answer->status = response->status;
	answer->text = response->body;
	if (response->outcome != SL_ANSWERED)
	{
		answer->problem = transport_problem(request, response);
		hint_at_wait(answer->problem, request->connection, response);
		return answer;
	}
	if (!is_blank(answer->text) && !is_markup(answer->text))
		answer->root = sl_json_parse(response->body, response->body_length, &why);
	if (answer->root == NULL && looks_like_json(answer->text))
		answer->unreadable = why;
	if (answer->root != NULL && has_passwords)
		sl_json_drop_passwords(answer->root);
	if (response->status / 100 == 2)
		answer->problem = success_problem(request, answer, kind, why);
	else
	{
		char *said = what_was_said(request, answer);
		char *detail = said_detail(said, response->status);

		if (response->status == 404 && is_markup(answer->text))
			answer->problem = unknown_route(request, detail);
		else if (response->status == 403 && is_markup(answer->text))
			answer->problem = refused_by_front(request, detail);
		else
			answer->problem = status_problem(request, response->status, detail);
		answer->problem->said = said;
		hint_at_wait(answer->problem, request->connection, response);
	}

	/* Deleted by an attempt whose answer never came: what is not found now was found then. */
	if (request->method == SL_DELETE && response->in_doubt && response->status == 404 &&
		!is_markup(answer->text))
		answer->problem = NULL;

	/* A lookup of what is not there. An unknown route answers 404 as well, but with a web page. */
	if (kind == SL_LOOKUP && response->status == 404 && answer->root != NULL)
	{
		answer->problem = NULL;
		answer->root = NULL;
	}
	return answer;
}

bool
sl_answer_refuses_name(const SlAnswer *answer, const SlArguments *arguments)
{
	const SlParam *params = arguments->endpoint->params;

	if (answer->status != 400 || answer->root == NULL ||
		sl_json_member(answer->root, "validation") == NULL)
		return false;
	for (int i = 0; params[i].name != NULL; i++)
		if (params[i].alternative != NULL && answer->problem != NULL &&
			strstr(answer->text, params[i].name) != NULL)
			return true;
	return false;
}

/* ---- where the result is ---- */

const cJSON *
sl_answer_rows(const SlAnswer *answer)
{
	static const char *const names[] = {"data", "leads", "campaigns"};
	const cJSON				*node = answer->root;

	/* {"data": {"leads": []}} is two steps. */
	for (int step = 0; step < 3; step++)
	{
		const cJSON *inner = NULL;

		if (cJSON_IsArray(node))
			return node;
		for (int i = 0; i < lengthof(names) && inner == NULL; i++)
			inner = sl_json_member(node, names[i]);
		node = inner;
	}
	return NULL;
}

int64
sl_answer_total(const SlAnswer *answer)
{
	static const char *const names[] = {"total_leads", "total_stats", "total_count", "total"};
	int64					 total;

	for (int i = 0; i < lengthof(names); i++)
	{
		const cJSON *member = sl_json_member(answer->root, names[i]);

		if (member != NULL && sl_json_bigint(member, &total) && total >= 0)
			return total;
	}
	return -1;
}

/*
 * The object with an id in this node: itself, the only one of an array, or the only one in an
 * envelope. What is called "data" goes before the rest.
 */
static const cJSON *
object_in(const cJSON *node, int depth)
{
	const cJSON *found = NULL;
	const cJSON *member;

	if (cJSON_IsArray(node) && cJSON_GetArraySize(node) == 1)
		node = node->child;
	if (!cJSON_IsObject(node))
		return NULL;
	if (!is_void(sl_json_member(node, "id")))
		return node;
	if (depth > 0)
		found = object_in(sl_json_member(node, "data"), depth - 1);
	if (depth == 0 || found != NULL)
		return found;
	cJSON_ArrayForEach (member, node)
	{
		const cJSON *inner = object_in(member, depth - 1);

		if (inner != NULL && found != NULL)
			return NULL;
		found = inner != NULL ? inner : found;
	}
	return found;
}

/* {"ok": true, "data": {…}}, {"ok": true, "data": [{…}]}, {"success": true, "campaign": {…}}, … */
const cJSON *
sl_answer_object(const SlAnswer *answer)
{
	return object_in(answer->root, 2);
}
