/*
 * queue/join.c
 *		Jobs that may share a request: those of one action that differ in its list alone.
 *
 * Ten thousand domains blocked one by one would take ten thousand requests of a budget of one a
 * second. Which actions take lists is in the endpoint table, so nothing here names one.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "lib/stringinfo.h"

#include "queue/join.h"

/* A job with a longer list of its own gains little by sharing. */
#define MAX_OWN_ELEMENTS 10

static bool
is_list(SlParamType type)
{
	return type == SL_BIGINTS || type == SL_TEXTS || type == SL_BIGINT_AS_LIST ||
		   type == SL_TEXT_AS_LIST;
}

/* The index of the endpoint's list, or -1. */
static int
list_param(const SlEndpoint *endpoint)
{
	for (int i = 0; endpoint->params[i].name != NULL; i++)
		if (is_list(endpoint->params[i].type))
			return i;
	return -1;
}

char *
sl_join_key(const SlArguments *arguments)
{
	const SlEndpoint *endpoint = arguments->endpoint;
	int				  list = list_param(endpoint);
	StringInfoData	  key;

	if (endpoint->kind != SL_ACTION || list < 0 ||
		arguments->value[list].n_elements > MAX_OWN_ELEMENTS)
		return NULL;
	initStringInfo(&key);
	appendStringInfoString(&key, endpoint->name);
	for (int i = 0; endpoint->params[i].name != NULL; i++)
		if (i != list && arguments->value[i].json != NULL)
			appendStringInfo(&key, " %s=%s", endpoint->params[i].name, arguments->value[i].json);
	return key.data;
}

bool
sl_join_add(SlArguments *target, const SlArguments *source)
{
	SlArgument		 *to = &target->value[list_param(target->endpoint)];
	const SlArgument *from = &source->value[list_param(source->endpoint)];

	if (to->n_elements + from->n_elements > SL_JOIN_MAX)
		return false;
	to->elements = repalloc(to->elements, sizeof(char *) * (to->n_elements + from->n_elements));
	memcpy(to->elements + to->n_elements, from->elements, sizeof(char *) * from->n_elements);
	to->n_elements += from->n_elements;
	return true;
}
