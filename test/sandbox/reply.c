/*
 * reply.c
 *		Answers and refusals in Smartlead's forms, and the checks that refuse.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sandbox.h"

void
reply_text(Call *call, int status, const char *content_type, const char *text)
{
	free(call->answer);
	call->status = status;
	/* As Express sends it, whatever the length. */
	call->content_type = strcmp(content_type, "application/json") == 0
							 ? "application/json; charset=utf-8"
							 : content_type;
	call->answer = strdup(text);
	call->answer_length = strlen(text);
}

void
reply_json(Call *call, int status, cJSON *json)
{
	char *text = cJSON_PrintUnformatted(json);

	free(call->answer);
	call->status = status;
	call->content_type = "application/json; charset=utf-8";
	call->answer = text;
	call->answer_length = strlen(text);
	cJSON_Delete(json);
}

/* With the switch echo_key, an error repeats the key and the URL, as a careless service might. */
static void
echo_key(Call *call, cJSON *error, const char *name)
{
	char	   *text;
	const char *said = text_of(error, name);

	if (!switch_on("echo_key") || call->workspace == NULL || said == NULL)
		return;
	if (asprintf(&text, "%s (api_key=%s)", said, call->workspace->key) < 0)
		return;
	set_item(error, name, cJSON_CreateString(text));
	free(text);
}

void
reply_error(Call *call, int status, const char *text)
{
	cJSON *error = cJSON_CreateObject();

	cJSON_AddStringToObject(error, "error", text);
	echo_key(call, error, "error");
	reply_json(call, status, error);
}

void
reply_invalid(Call *call, const char *source, const char *key, const char *message)
{
	cJSON *error = cJSON_CreateObject();
	cJSON *validation = cJSON_CreateObject();

	cJSON_AddNumberToObject(error, "statusCode", 400);
	cJSON_AddStringToObject(error, "error", "Bad Request");
	cJSON_AddStringToObject(error, "message", message);
	cJSON_AddStringToObject(validation, "source", source);
	cJSON_AddItemToObject(validation, "keys", cJSON_CreateStringArray(&key, 1));
	cJSON_AddItemToObject(error, "validation", validation);
	echo_key(call, error, "message");
	reply_json(call, 400, error);
}

void
reply_ok(Call *call, const char *extra)
{
	char *text = NULL;

	if (switch_is("write_form", "d"))
		reply_text(call, 200, "application/json", "{\"success\":true,\"message\":\"Done\"}");
	else if (switch_is("write_form", "empty"))
		reply_text(call, 200, "application/json", "{}");
	else if (asprintf(&text, "{\"ok\":true%s%s}", extra != NULL ? "," : "",
					  extra != NULL ? extra : "") > 0)
		reply_text(call, 200, "application/json", text);
	free(text);
}

void
reply_unknown_route(Call *call)
{
	char html[2048];

	snprintf(html, sizeof(html),
			 "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
			 "<title>Error</title>\n</head>\n<body>\n<pre>Cannot %s /api/v1%s</pre>\n</body>\n"
			 "</html>\n",
			 call->method, call->path);
	reply_text(call, 404, "text/html; charset=utf-8", html);
}

/* ---- checks ---- */

typedef struct Rule
{
	char name[64];
	char type;
	bool required, nullable;
} Rule;

/* The next rule of "name:s* id:i? …"; false at the end. */
static bool
next_rule(const char **rules, Rule *rule)
{
	int n = 0;

	memset(rule, 0, sizeof(*rule));
	while (**rules == ' ')
		(*rules)++;
	if (**rules == '\0')
		return false;
	while (**rules != ':')
		rule->name[n++] = *(*rules)++;
	(*rules)++;
	rule->type = *(*rules)++;
	for (; **rules == '*' || **rules == '?'; (*rules)++)
	{
		rule->required |= **rules == '*';
		rule->nullable |= **rules == '?';
	}
	return true;
}

static bool
find_rule(const char *rules, const char *name, Rule *rule)
{
	while (next_rule(&rules, rule))
		if (strcmp(rule->name, name) == 0)
			return true;
	return false;
}

static bool
is_integer_text(const char *text)
{
	char *end;

	strtoll(text, &end, 10);
	return end > text && *end == '\0';
}

static const char *
type_problem(const cJSON *value, const Rule *rule)
{
	if (cJSON_IsNull(value))
		return rule->nullable ? NULL : "is not allowed to be null";
	switch (rule->type)
	{
		case 's':
			return cJSON_IsString(value) ? NULL : "must be a string";
		case 'i': /* Joi converts texts with numbers */
			if (cJSON_IsString(value) && is_integer_text(value->valuestring))
				return NULL;
			return cJSON_IsNumber(value) ? NULL : "must be a number";
		case 'b':
			return cJSON_IsBool(value) ? NULL : "must be a boolean";
		case 'o':
			return cJSON_IsObject(value) ? NULL : "must be of type object";
		case 'a':
			return cJSON_IsArray(value) ? NULL : "must be an array";
		default:
			return NULL;
	}
}

static bool
refuse_member(Call *call, const char *source, const char *name, const char *problem)
{
	char message[256];

	snprintf(message, sizeof(message), "\"%s\" %s", name, problem);
	reply_invalid(call, source, name, message);
	return false;
}

static bool
check_required(Call *call, const char *source, const char *rules, const cJSON *object)
{
	Rule rule;

	while (next_rule(&rules, &rule))
		if (rule.required && cJSON_GetObjectItemCaseSensitive(object, rule.name) == NULL)
			return refuse_member(call, source, rule.name, "is required");
	return true;
}

bool
check_object(Call *call, const char *what, const cJSON *object, const char *rules)
{
	const cJSON *member;
	Rule		 rule;

	if (!cJSON_IsObject(object))
		return refuse_member(call, "body", what, "must be of type object");
	cJSON_ArrayForEach (member, object)
	{
		const char *problem;

		if (!find_rule(rules, member->string, &rule))
			return refuse_member(call, "body", member->string, "is not allowed");
		if ((problem = type_problem(member, &rule)) != NULL)
			return refuse_member(call, "body", member->string, problem);
	}
	return check_required(call, "body", rules, object);
}

bool
check_body(Call *call, const char *rules)
{
	if (call->raw_length == 0)
		return check_required(call, "body", rules, NULL);
	return check_object(call, "value", call->body, rules);
}

typedef struct QueryCheck
{
	Call	   *call;
	const char *rules;
	cJSON	   *seen;
	bool		ok;
} QueryCheck;

static enum MHD_Result
check_query_member(void *arg, enum MHD_ValueKind kind, const char *name, const char *value)
{
	QueryCheck *check = arg;
	Rule		rule;

	if (strcmp(name, "api_key") == 0)
		return MHD_YES;
	cJSON_AddTrueToObject(check->seen, name);
	if (!find_rule(check->rules, name, &rule))
		check->ok = refuse_member(check->call, "query", name, "is not allowed");
	else if (rule.type == 'i' && (value == NULL || !is_integer_text(value)))
		check->ok = refuse_member(check->call, "query", name, "must be a number");
	else if (rule.type == 'b' &&
			 (value == NULL || (strcmp(value, "true") != 0 && strcmp(value, "false") != 0)))
		check->ok = refuse_member(check->call, "query", name, "must be a boolean");
	return check->ok ? MHD_YES : MHD_NO;
}

bool
check_query(Call *call, const char *rules)
{
	QueryCheck check = {call, rules, cJSON_CreateObject(), true};

	MHD_get_connection_values(call->connection, MHD_GET_ARGUMENT_KIND, check_query_member, &check);
	if (check.ok)
		check.ok = check_required(call, "query", rules, check.seen);
	cJSON_Delete(check.seen);
	return check.ok;
}

/* ---- small things on cJSON ---- */

const char *
text_of(const cJSON *object, const char *name)
{
	return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name));
}

int64_t
number_of(const cJSON *object, const char *name, int64_t missing)
{
	const cJSON *member = cJSON_GetObjectItemCaseSensitive(object, name);

	if (cJSON_IsString(member))
		return strtoll(member->valuestring, NULL, 10);
	return cJSON_IsNumber(member) ? (int64_t) member->valuedouble : missing;
}

cJSON *
add_id(cJSON *object, const char *name, int64_t id, bool as_text)
{
	char text[24];

	snprintf(text, sizeof(text), "%lld", (long long) id);
	return as_text ? cJSON_AddStringToObject(object, name, text)
				   : cJSON_AddNumberToObject(object, name, (double) id);
}

void
set_item(cJSON *object, const char *name, cJSON *value)
{
	if (cJSON_GetObjectItemCaseSensitive(object, name) != NULL)
		cJSON_ReplaceItemInObjectCaseSensitive(object, name, value);
	else
		cJSON_AddItemToObject(object, name, value);
}

cJSON *
find_by(cJSON *array, const char *name, int64_t value)
{
	cJSON *row;

	cJSON_ArrayForEach (row, array)
	{
		if (number_of(row, name, INT64_MIN) == value)
			return row;
	}
	return NULL;
}

/* A listing's array as it is, or in one of the documented envelopes. */
cJSON *
list_in_envelope(cJSON *array, const char *name)
{
	cJSON *envelope;

	if (switch_is("list_envelope", "array"))
		return array;
	envelope = cJSON_CreateObject();
	if (switch_is("list_envelope", "success"))
	{
		cJSON_AddTrueToObject(envelope, "success");
		cJSON_AddItemToObject(envelope, name, array);
	}
	else
	{
		cJSON_AddTrueToObject(envelope, "ok");
		cJSON_AddItemToObject(envelope, "data", array);
	}
	return envelope;
}
