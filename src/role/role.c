/*
 * role/role.c
 *		Working as another role than the current user.
 *
 * The steps are those of the server's logical replication worker before it writes into a user's
 * table, with two differences. They are taken even when the user could become the other role anyway,
 * and the settings that decide what a statement means are put right.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "catalog/pg_class.h"
#include "commands/trigger.h"
#include "nodes/makefuncs.h"
#include "nodes/parsenodes.h"
#include "utils/acl.h"
#include "utils/syscache.h"

#include "role/role.h"

#define STAND_IN "smartlead_admin"

static void
set(const char *name, const char *value)
{
	(void) set_config_option(name, value, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, ERROR,
							 false);
}

void
sl_become_user(Oid user, SlUserContext *saved)
{
	GetUserIdAndSecContext(&saved->user, &saved->security);
	SetUserIdAndSecContext(user, saved->security | SECURITY_RESTRICTED_OPERATION |
									 SECURITY_LOCAL_USERID_CHANGE);
	saved->nest_level = NewGUCNestLevel();
	set("search_path", "pg_catalog, pg_temp");
	set("row_security", "on");
}

void
sl_become_oneself(const SlUserContext *saved)
{
	AtEOXact_GUC(false, saved->nest_level);
	SetUserIdAndSecContext(saved->user, saved->security);
}

void
sl_become_owner(Oid table, SlUserContext *saved)
{
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(table));
	Oid		  owner;

	if (!HeapTupleIsValid(tuple))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("a table of extension smartlead does not exist"),
				 errhint("Bring the extension up to date: ALTER EXTENSION smartlead UPDATE.")));
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	sl_become_user(owner, saved);
}

Oid
sl_working_role(Oid role)
{
	if (!SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(role)))
		return InvalidOid;
	if (!superuser_arg(role))
		return role;
	role = get_role_oid(STAND_IN, true);
	return OidIsValid(role) && !superuser_arg(role) ? role : InvalidOid;
}

void
sl_forbid_deferred_triggers(void)
{
	ConstraintsSetStmt *all_immediate = makeNode(ConstraintsSetStmt);

	AfterTriggerSetState(all_immediate);
}
