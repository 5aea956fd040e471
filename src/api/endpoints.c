/*
 * api/endpoints.c
 *		The endpoint table: what can be asked of Smartlead, and how.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "api/complete.h"
#include "api/domain.h"
#include "api/endpoints.h"

/* sl_endpoints, and the shapes of the rows: made of the declarations in endpoints/. */
#include "endpoint_table.h"

int
sl_endpoint_param_count(const SlEndpoint *endpoint)
{
	int n = 0;

	while (endpoint->params[n].name != NULL)
		n++;
	return n;
}

int
sl_endpoint_param(const SlEndpoint *endpoint, const char *name)
{
	for (int i = 0; endpoint->params[i].name != NULL; i++)
		if (strcmp(endpoint->params[i].name, name) == 0)
			return i;
	return -1;
}

/* Are these all parameters of the endpoint, and all that it requires among them? */
static bool
fits(const SlEndpoint *endpoint, const char *const *params, int n_params)
{
	int required = 0;

	for (int i = 0; endpoint->params[i].name != NULL; i++)
		required += endpoint->params[i].required;
	for (int i = 0; i < n_params; i++)
	{
		int param = sl_endpoint_param(endpoint, params[i]);

		if (param < 0 || endpoint->params[param].found_out)
			return false;
		required -= endpoint->params[param].required;
	}
	return required == 0;
}

const SlEndpoint *
sl_endpoint_find(const char *name, const char *const *params, int n_params)
{
	for (const SlEndpoint *endpoint = sl_endpoints; endpoint->name != NULL; endpoint++)
		if (strcmp(endpoint->name, name) == 0 && fits(endpoint, params, n_params))
			return endpoint;
	return NULL;
}

const SlEndpoint *
sl_endpoint_named(const char *name)
{
	for (const SlEndpoint *endpoint = sl_endpoints; endpoint->name != NULL; endpoint++)
		if (strcmp(endpoint->name, name) == 0)
			return endpoint;
	return NULL;
}
