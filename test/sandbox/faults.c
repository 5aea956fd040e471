/*
 * faults.c
 *		Misbehaviour on request: which requests it befalls, and what is answered then.
 *
 * Faults that end or starve the connection are carried out in main.c, by the fault's kind.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sandbox.h"

static const char *const kinds =
	" status empty drop drop_mid_body truncated_json invalid_json wrong_type html huge drip delay "
	"hang ok_false success_false deep nul bad_utf8 process_then_drop redirect page ignore_offset ";

/* Of these, those before which the request is carried out. */
static const char *const performed = " drip delay process_then_drop page ignore_offset ";

static Fault *faults = NULL;
static Fault *retired = NULL; /* used up, but requests under way may still look at them */

static bool
is_among(const char *words, const char *kind)
{
	char word[40];

	snprintf(word, sizeof(word), " %s ", kind);
	return strstr(words, word) != NULL;
}

void
faults_reset(void)
{
	Fault **last = &retired;

	while (*last != NULL)
		last = &(*last)->next;
	*last = faults;
	faults = NULL;
}

static char *
copy(const cJSON *json, const char *name)
{
	const char *text = text_of(json, name);

	return text != NULL ? strdup(text) : NULL;
}

static char *
header_lines(const cJSON *headers)
{
	char		*lines = strdup("");
	const cJSON *header;

	cJSON_ArrayForEach (header, headers)
	{
		char *longer;

		if (asprintf(&longer, "%s%s: %s\n", lines, header->string, header->valuestring) < 0)
			break;
		free(lines);
		lines = longer;
	}
	return lines;
}

bool
fault_add(const cJSON *json, char *why, size_t size)
{
	const char *kind = text_of(json, "kind");
	Fault	   *fault;
	Fault	  **last = &faults;

	if (kind == NULL || !is_among(kinds, kind))
	{
		snprintf(why, size, "there is no fault of the kind %s", kind != NULL ? kind : "?");
		return false;
	}
	fault = calloc(1, sizeof(Fault));
	snprintf(fault->method, sizeof(fault->method), "%s", text_of(json, "method") ?: "*");
	snprintf(fault->path, sizeof(fault->path), "%s", text_of(json, "path") ?: "*");
	snprintf(fault->kind, sizeof(fault->kind), "%s", kind);
	fault->times = number_of(json, "times", 1);
	fault->skip = number_of(json, "skip", 0);
	fault->before_auth = cJSON_IsTrue(cJSON_GetObjectItem(json, "before_auth"));
	fault->status = (int) number_of(json, "status", 0);
	fault->body = copy(json, "body");
	fault->content_type = copy(json, "content_type");
	fault->headers = header_lines(cJSON_GetObjectItem(json, "headers"));
	fault->bytes = number_of(json, "bytes", 128 * 1024 * 1024);
	fault->delay_ms = (int) number_of(json, "delay_ms", 100);
	fault->depth = (int) number_of(json, "depth", 1000);
	fault->rows = (int) number_of(json, "rows", -1);
	fault->total = cJSON_Duplicate(cJSON_GetObjectItem(json, "total"), true);
	while (*last != NULL)
		last = &(*last)->next;
	*last = fault;
	return true;
}

const Fault *
fault_for(const Call *call, bool before_auth)
{
	for (Fault **place = &faults; *place != NULL; place = &(*place)->next)
	{
		Fault *fault = *place;

		if (fault->before_auth != before_auth ||
			(strcmp(fault->method, "*") != 0 && strcmp(fault->method, call->method) != 0) ||
			fnmatch(fault->path, call->path, 0) != 0)
			continue;
		if (fault->skip > 0)
		{
			fault->skip--;
			continue;
		}
		if (fault->times > 0 && --fault->times == 0)
		{
			*place = fault->next;
			fault->next = retired;
			retired = fault;
		}
		return fault;
	}
	return NULL;
}

bool
fault_performs(const Fault *fault)
{
	return is_among(performed, fault->kind);
}

bool
fault_hides(const Call *call, const char *name)
{
	return call->fault != NULL && strcmp(call->fault->kind, "ignore_offset") == 0 &&
		   strcmp(name, "offset") == 0;
}

/* A listing's answer with another total, and with so many rows at most. */
static void
change_page(Call *call, const Fault *fault)
{
	static const char *const totals[] = {"total_leads", "total"};
	cJSON					*answer = cJSON_ParseWithLength(call->answer, call->answer_length);
	cJSON					*rows = answer;

	if (answer == NULL)
		return;
	if (!cJSON_IsArray(rows))
		rows = cJSON_GetObjectItem(answer, "data");
	if (!cJSON_IsArray(rows))
		rows = cJSON_GetObjectItem(answer, "leads");
	while (fault->rows >= 0 && cJSON_GetArraySize(rows) > fault->rows)
		cJSON_DeleteItemFromArray(rows, fault->rows);
	for (int i = 0; i < 2 && fault->total != NULL; i++)
	{
		if (!cJSON_HasObjectItem(answer, totals[i]))
			continue;
		cJSON_DeleteItemFromObjectCaseSensitive(answer, totals[i]);
		if (!cJSON_IsNull(fault->total))
			cJSON_AddItemToObject(answer, totals[i], cJSON_Duplicate(fault->total, true));
	}
	reply_json(call, call->status, answer);
}

static void
answer_deep(Call *call, int depth)
{
	char *text = malloc(2 * depth + 1);

	memset(text, '[', depth);
	memset(text + depth, ']', depth);
	text[2 * depth] = '\0';
	reply_text(call, 200, "application/json", text);
	free(text);
}

/* The answer of a fault; for those of the connection itself, what main.c sends a part of. */
void
fault_apply(Call *call, const Fault *fault)
{
	const char *kind = fault->kind;
	const char *type =
		fault->content_type != NULL ? fault->content_type : "application/json; charset=utf-8";
	size_t used = strlen(call->headers);

	snprintf(call->headers + used, sizeof(call->headers) - used, "%s", fault->headers);
	if (strcmp(kind, "status") == 0)
		reply_text(call, fault->status ? fault->status : 500, type,
				   fault->body != NULL ? fault->body : "{\"error\":\"Something went wrong\"}");
	else if (strcmp(kind, "empty") == 0)
		reply_text(call, 200, type, "");
	else if (strcmp(kind, "truncated_json") == 0 || strcmp(kind, "drop_mid_body") == 0)
		reply_text(call, 200, type, "{\"ok\":true,\"data\":[{\"id\":1,\"name\":\"trunc");
	else if (strcmp(kind, "invalid_json") == 0)
		reply_text(call, 200, type, "{\"ok\":true,,}");
	else if (strcmp(kind, "wrong_type") == 0)
		reply_text(call, 200, "text/html", fault->body != NULL ? fault->body : "[]");
	else if (strcmp(kind, "html") == 0)
		reply_text(
			call, fault->status ? fault->status : 502, "text/html",
			"<html><head><title>502 Bad Gateway</title></head><body>cloudflare</body></html>");
	else if (strcmp(kind, "ok_false") == 0)
		reply_text(call, 200, type,
				   fault->body != NULL
					   ? fault->body
					   : "{\"ok\":false,\"error\":\"The lead credit limit has been reached\"}");
	else if (strcmp(kind, "success_false") == 0)
		reply_text(call, 200, type, "{\"success\":false,\"message\":\"Insufficient credits\"}");
	else if (strcmp(kind, "deep") == 0)
		answer_deep(call, fault->depth);
	else if (strcmp(kind, "nul") == 0)
		reply_text(call, 200, type, "[{\"id\":1,\"name\":\"a\\u0000b\"}]");
	else if (strcmp(kind, "bad_utf8") == 0)
		reply_text(call, 200, type, "[{\"id\":1,\"name\":\"a\xff\xfe b\"}]");
	else if (strcmp(kind, "redirect") == 0)
	{
		used = strlen(call->headers);
		snprintf(call->headers + used, sizeof(call->headers) - used,
				 "Location: https://elsewhere.example/\n");
		reply_text(call, 302, "text/html", "");
	}
	else if (strcmp(kind, "page") == 0)
		change_page(call, fault);
	else if (strcmp(kind, "delay") == 0)
		call->delay_ms += fault->delay_ms;
}
