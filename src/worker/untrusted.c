/*
 * worker/untrusted.c
 *		Running users' code in a worker that is connected as a superuser.
 *
 * The same steps as those of the server's logical replication worker before it writes into a user's
 * table, with two differences. They are taken even when the user could become the superuser anyway.
 * And constraint triggers that wait for the end of the transaction, which the server refuses in
 * such a place, are run at once instead.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "commands/trigger.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/parsenodes.h"
#include "utils/acl.h"
#include "utils/guc.h"
#include "utils/syscache.h"

#include "worker/worker.h"

#define STAND_IN "smartlead_admin"

void
sl_become_user(Oid user, SlUserContext *saved)
{
	GetUserIdAndSecContext(&saved->user, &saved->security);
	SetUserIdAndSecContext(user, saved->security | SECURITY_RESTRICTED_OPERATION |
									 SECURITY_LOCAL_USERID_CHANGE);
	saved->nest_level = NewGUCNestLevel();
}

void
sl_become_oneself(const SlUserContext *saved)
{
	AtEOXact_GUC(false, saved->nest_level);
	SetUserIdAndSecContext(saved->user, saved->security);
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
