/*
 * role/type.c
 *		The type smartlead_role: a role's oid, like regrole, that can be loaded where the role is missing.
 *
 * A dump tells roles by their names. Of a regrole, one name that is unknown where the dump is loaded
 * fails the whole table, and a role that was dropped is dumped as its number, which is another role
 * elsewhere. Here both are no role at all, "-"; the job's row keeps the name beside it.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "libpq/pqformat.h"
#include "utils/acl.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(smartlead_role_in);
PG_FUNCTION_INFO_V1(smartlead_role_out);
PG_FUNCTION_INFO_V1(smartlead_role_recv);
PG_FUNCTION_INFO_V1(smartlead_role_send);

#define NO_ROLE "-"

/* Once for each of the names that come one after the other: a table may be full of them. */
static void
warn_of_missing_role(const char *name)
{
	static char last[NAMEDATALEN] = "";

	if (strcmp(last, name) == 0)
		return;
	strlcpy(last, name, sizeof(last));
	ereport(WARNING, (errcode(ERRCODE_UNDEFINED_OBJECT),
					  errmsg("role \"%s\" does not exist: what is to be done as it waits", name)));
}

static Oid
role_of(const char *name)
{
	Oid role = InvalidOid;

	if (strcmp(name, NO_ROLE) == 0)
		return InvalidOid;
	if (strlen(name) < NAMEDATALEN)
		role = get_role_oid(name, true);
	if (!OidIsValid(role))
		warn_of_missing_role(name);
	return role;
}

static const char *
name_of(Oid role)
{
	const char *name = OidIsValid(role) ? GetUserNameFromId(role, true) : NULL;

	return name != NULL ? name : NO_ROLE;
}

Datum
smartlead_role_in(PG_FUNCTION_ARGS)
{
	PG_RETURN_OID(role_of(PG_GETARG_CSTRING(0)));
}

Datum
smartlead_role_out(PG_FUNCTION_ARGS)
{
	PG_RETURN_CSTRING(pstrdup(name_of(PG_GETARG_OID(0))));
}

Datum
smartlead_role_recv(PG_FUNCTION_ARGS)
{
	StringInfo message = (StringInfo) PG_GETARG_POINTER(0);
	int		   length;

	PG_RETURN_OID(role_of(pq_getmsgtext(message, message->len - message->cursor, &length)));
}

Datum
smartlead_role_send(PG_FUNCTION_ARGS)
{
	const char	  *name = name_of(PG_GETARG_OID(0));
	StringInfoData message;

	pq_begintypsend(&message);
	pq_sendtext(&message, name, strlen(name));
	PG_RETURN_BYTEA_P(pq_endtypsend(&message));
}
