/*
 * queue/rights.c
 *		Whether a role may have an action performed.
 *
 * Who may not call the action's function may not have it called by the dispatcher either. What has
 * no function, such as the requests by which webhooks are registered, nobody may. The rights count
 * twice: when the job is enqueued, so that the error comes early, and when it runs.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "access/htup_details.h"
#include "catalog/pg_language.h"
#include "catalog/pg_proc.h"
#include "utils/acl.h"
#include "utils/catcache.h"
#include "utils/syscache.h"

#include "queue/rights.h"

static bool
is_among(const char *name, const char *const *names, int n)
{
	for (int i = 0; i < n; i++)
		if (strcmp(names[i], name) == 0)
			return true;
	return false;
}

/* Is it the row's function, and does it take all of these arguments? */
static bool
takes(HeapTuple function, const SlEndpoint *endpoint, const char *const *names, int n_names)
{
	const char *params[FUNC_MAX_ARGS] = {NULL};
	int			n_params = 0;
	Oid		   *types;
	char	  **declared = NULL;
	char	   *modes;

	get_func_arg_info(function, &types, &declared, &modes);
	for (int i = 0; i < ((Form_pg_proc) GETSTRUCT(function))->pronargs && declared != NULL; i++)
		if (strcmp(declared[i], "connection") != 0)
			params[n_params++] = declared[i];
	if (sl_endpoint_find(endpoint->name, params, n_params) != endpoint)
		return false;
	for (int i = 0; i < n_names; i++)
		if (!is_among(names[i], params, n_params))
			return false;
	return true;
}

/* Others could make a function of the same name in the same schema, but none in C. */
static bool
is_ours(Form_pg_proc function, Oid schema)
{
	return function->pronamespace == schema && function->prolang == ClanguageId;
}

void
sl_rights_check(Oid schema, const SlEndpoint *endpoint, const char *const *names, int n_names,
				Oid role)
{
	char	 *name = psprintf("smartlead_%s", endpoint->name);
	CatCList *list = SearchSysCacheList1(PROCNAMEARGSNSP, CStringGetDatum(name));
	bool	  exists = false;
	bool	  allowed = false;

	for (int i = 0; i < list->n_members; i++)
	{
		HeapTuple	 tuple = &list->members[i]->tuple;
		Form_pg_proc function = (Form_pg_proc) GETSTRUCT(tuple);

		if (!is_ours(function, schema) || !takes(tuple, endpoint, names, n_names))
			continue;
		exists = true;
		allowed = allowed || sl_function_aclcheck(function->oid, role) == ACLCHECK_OK;
	}
	ReleaseSysCacheList(list);
	if (!exists)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("action \"%s\" can't be enqueued with these arguments", endpoint->name),
				 errdetail("There is no function %s() that takes them.", name)));
	if (!allowed)
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_FUNCTION, name);
}
