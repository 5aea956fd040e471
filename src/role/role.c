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

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/pg_class.h"
#include "catalog/pg_policy.h"
#include "commands/trigger.h"
#include "nodes/makefuncs.h"
#include "nodes/parsenodes.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "role/role.h"
#include "watch/relations.h"
#include "worker/worker.h"

/* The table whose policy is for smartlead_admin, and holds the role itself. */
#define ADMIN_TABLE "smartlead_failed_events"
#define ADMIN_POLICY "administrators"
#define ADMIN "smartlead_admin"

/* smartlead_admin as it was found, until something changes that it was found by. */
static Oid	admin = InvalidOid;
static Oid	admin_table = InvalidOid;
static bool admin_is_current = false;

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

Oid
sl_owner_of(Oid table)
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
	return owner;
}

void
sl_become_owner(Oid table, SlUserContext *saved)
{
	sl_become_user(sl_owner_of(table), saved);
}

/* The only role of a policy. */
static Oid
role_of(HeapTuple policy, Relation catalog)
{
	bool  is_null;
	Datum roles =
		heap_getattr(policy, Anum_pg_policy_polroles, RelationGetDescr(catalog), &is_null);
	ArrayType *array = is_null ? NULL : DatumGetArrayTypeP(roles);

	if (array == NULL || ARR_NDIM(array) != 1 || ARR_DIMS(array)[0] != 1)
		return InvalidOid;
	return *(Oid *) ARR_DATA_PTR(array);
}

static Oid
find_admin(Oid table)
{
	Relation	catalog = table_open(PolicyRelationId, AccessShareLock);
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	policy;
	Oid			role = InvalidOid;

	ScanKeyInit(&keys[0], Anum_pg_policy_polrelid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(table));
	ScanKeyInit(&keys[1], Anum_pg_policy_polname, BTEqualStrategyNumber, F_NAMEEQ,
				CStringGetDatum(ADMIN_POLICY));
	scan = systable_beginscan(catalog, PolicyPolrelidPolnameIndexId, true, NULL, 2, keys);
	policy = systable_getnext(scan);
	if (HeapTupleIsValid(policy))
		role = role_of(policy, catalog);
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	return OidIsValid(role) ? role
							: get_role_oid(ADMIN, true); /* somebody has changed the policy */
}

static void
table_changed(Oid table)
{
	if (!OidIsValid(table) || table == admin_table)
		admin_is_current = false;
}

static void
roles_changed(Datum unused, int cache, uint32 hash)
{
	admin_is_current = false;
}

/* The receiver asks with each request, and a search costs nearly a third of all else that is done for it. */
Oid
sl_admin_role(void)
{
	static bool is_told = false;

	if (admin_is_current && OidIsValid(admin))
		return admin;
	if (!is_told)
	{
		sl_watch_relations(table_changed);
		CacheRegisterSyscacheCallback(AUTHOID, roles_changed, (Datum) 0);
		is_told = true;
	}
	admin = InvalidOid;
	admin_table = sl_extension_relation(ADMIN_TABLE);
	admin_is_current = true; /* unless there is news during the search */
	if (OidIsValid(admin_table))
		admin = find_admin(admin_table);
	return admin;
}

Oid
sl_working_role(Oid role)
{
	if (!SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(role)))
		return InvalidOid;
	if (!superuser_arg(role))
		return role;
	role = sl_admin_role();
	return OidIsValid(role) && !superuser_arg(role) ? role : InvalidOid;
}

void
sl_forbid_deferred_triggers(void)
{
	ConstraintsSetStmt *all_immediate = makeNode(ConstraintsSetStmt);

	AfterTriggerSetState(all_immediate);
}
