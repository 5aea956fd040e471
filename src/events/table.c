/*
 * events/table.c
 *		The table of events: where it is, and whether events can be written into it.
 *
 * It is the user's own, found by its name in the extension's schema. It must have the columns of the
 * type smartlead_event, be a table that outlives a crash, and belong to a role that has the rights of
 * smartlead_admin: another role's triggers would run as the subscribers. All else about it is the user's
 * business. Both are looked at when something about it has changed.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "access/relation.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "rewrite/prs2lock.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "events/events.h"
#include "role/role.h"
#include "watch/relations.h"
#include "worker/worker.h"

#define TABLE "smartlead_events"

PG_FUNCTION_INFO_V1(smartlead_check_events);

/* Of smartlead_event's columns, in their order: values are written as they are. */
static const Oid column_types[] = {
	INT8OID, TIMESTAMPTZOID, TEXTOID, INT8OID, TEXTOID, UUIDOID, TEXTOID, TEXTOID, TIMESTAMPTZOID,
	INT8OID, TEXTOID,		 INT8OID, INT8OID, INT8OID, TEXTOID, TEXTOID, TEXTOID, TEXTOID,
	INT4OID, TEXTOID,		 TEXTOID, TEXTOID, TEXTOID, TEXTOID, INT8OID, TEXTOID, JSONBOID};

StaticAssertDecl(lengthof(column_types) == SL_N_EVENT_COLUMNS, "each column has a type");

static SlEventObjects objects = {0};
static bool			  objects_known = false;
static Oid			  fitting = InvalidOid; /* the table that was looked at last, and fits */
static uint64		  changes = 0; /* in the catalog, so far: what was read before is old */

/* ---- what belongs to the extension ---- */

static void
relation_changed(Oid relation)
{
	changes++;
	if (!OidIsValid(relation) || relation == objects.keys || relation == objects.row_relation)
		objects_known = false;
	if (!OidIsValid(relation) || relation == fitting)
		fitting = InvalidOid;
}

/* A schema has another name, or a role other members. */
static void
catalog_changed(Datum argument, int cache, uint32 hash)
{
	changes++;
	objects_known = false;
	fitting = InvalidOid;
}

static void
check_row_type(Oid type)
{
	TupleDesc descriptor = lookup_rowtype_tupdesc(type, -1);
	int		  n = 0;

	while (n < descriptor->natts && n < lengthof(column_types) &&
		   TupleDescAttr(descriptor, n)->atttypid == column_types[n])
		n++;
	if (n < descriptor->natts || n < lengthof(column_types))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("type \"smartlead_event\" is not as the extension made it"),
						errhint("If the extension's files are newer than the extension: ALTER "
								"EXTENSION smartlead UPDATE.")));
	ReleaseTupleDesc(descriptor);
}

static void
watch_catalog(void)
{
	static bool watched = false;

	if (watched)
		return;
	sl_watch_relations(relation_changed);
	CacheRegisterSyscacheCallback(NAMESPACEOID, catalog_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHMEMMEMROLE, catalog_changed, (Datum) 0);
	watched = true;
}

static void
look_up_objects(void)
{
	SlEventObjects found;

	memset(&found, 0, sizeof(found)); /* to be compared */
	found.generation = objects.generation;
	found.schema = sl_extension_schema();
	if (OidIsValid(found.schema))
	{
		found.keys = get_relname_relid("smartlead_event_keys", found.schema);
		found.sequence = get_relname_relid("smartlead_event_id_seq", found.schema);
		found.row_type =
			GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid, CStringGetDatum("smartlead_event"),
							ObjectIdGetDatum(found.schema));
	}
	if (!OidIsValid(found.keys) || !OidIsValid(found.sequence) || !OidIsValid(found.row_type))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_RESOURCES), errmsg("extension smartlead is gone")));
	found.row_relation = get_typ_typrelid(found.row_type);
	strlcpy(found.schema_name, quote_identifier(get_namespace_name(found.schema)),
			sizeof(found.schema_name));
	check_row_type(found.row_type);
	if (memcmp(&found, &objects, sizeof(found)) == 0)
		return;
	objects = found;
	objects.generation++;
}

const SlEventObjects *
sl_event_objects(void)
{
	uint64 before = changes;

	if (objects_known)
		return &objects;
	watch_catalog();
	look_up_objects();
	objects_known = before == changes;
	return &objects;
}

/* A plan of former objects is not freed: it may be the one that runs the trigger that has led here. */
bool
sl_plan_is_ready(const SlPlan *plan)
{
	return plan->plan != NULL && plan->generation == sl_event_objects()->generation;
}

void
sl_plan_make(SlPlan *plan, const char *statement, int n, Oid *types)
{
	/* Not for a generic plan in any case: Citus can plan for given values only. */
	SPIPlanPtr made = SPI_prepare(statement, n, types);

	if (made == NULL || SPI_keepplan(made) != 0)
		elog(ERROR, "could not prepare a statement: %s", SPI_result_code_string(SPI_result));
	plan->plan = made;
	plan->generation = sl_event_objects()->generation;
}

/* ---- the table ---- */

static char *
misfit_of_column(Relation table, Form_pg_attribute wanted)
{
	const char		 *name = NameStr(wanted->attname);
	int				  number = get_attnum(RelationGetRelid(table), name);
	Form_pg_attribute found;

	if (number == InvalidAttrNumber)
		return psprintf("Column \"%s\" is missing.", name);
	found = TupleDescAttr(RelationGetDescr(table), number - 1);
	if (found->atttypid != wanted->atttypid)
		return psprintf("Column \"%s\" is of type %s instead of %s.", name,
						format_type_be(found->atttypid), format_type_be(wanted->atttypid));
	return found->attgenerated == '\0' ? NULL : psprintf("Column \"%s\" is generated.", name);
}

static char *
misfit_of_columns(Relation table)
{
	TupleDesc wanted = lookup_rowtype_tupdesc(sl_event_objects()->row_type, -1);
	char	 *misfit = NULL;

	for (int i = 0; i < wanted->natts && misfit == NULL; i++)
		misfit = misfit_of_column(table, TupleDescAttr(wanted, i));
	ReleaseTupleDesc(wanted);
	return misfit;
}

static bool
has_rule_on_insert(Relation table)
{
	for (int i = 0; table->rd_rules != NULL && i < table->rd_rules->numLocks; i++)
		if (table->rd_rules->rules[i]->event == CMD_INSERT)
			return true;
	return false;
}

/* Why the receiver can't write into it, as a sentence. NULL: it can. */
static char *
misfit_of(Relation table)
{
	Oid	 admin = sl_admin_role();
	Oid	 owner = table->rd_rel->relowner;
	char kind = table->rd_rel->relkind;

	if (kind != RELKIND_RELATION && kind != RELKIND_PARTITIONED_TABLE)
		return pstrdup("It is not a table.");
	if (!OidIsValid(admin) || !has_privs_of_role(owner, admin))
		return psprintf("Its owner \"%s\" has not the rights of smartlead_admin.",
						GetUserNameFromId(owner, true));
	if (table->rd_rel->relpersistence != RELPERSISTENCE_PERMANENT)
		return pstrdup("It is not logged, so that a crash would empty it.");
	if (has_rule_on_insert(table))
		return pstrdup("It has a rule on INSERT.");
	return misfit_of_columns(table);
}

/* With that lock the name can't move to another table. InvalidOid: there is none. */
static Oid
lock_by_name(LOCKMODE mode)
{
	for (;;)
	{
		Oid schema = sl_event_objects()->schema;
		Oid table = get_relname_relid(TABLE, schema);

		if (!OidIsValid(table))
			return InvalidOid;
		LockRelationOid(table, mode);
		if (schema == sl_event_objects()->schema && table == get_relname_relid(TABLE, schema))
			return table;
		UnlockRelationOid(table, mode);
	}
}

/* Is there a table at all, and does it fit? Then what is wrong is NULL. */
static Oid
look_at_table(LOCKMODE mode, char **misfit)
{
	Oid		 table = lock_by_name(mode);
	uint64	 before = changes;
	Relation relation;

	*misfit = NULL;
	if (!OidIsValid(table) || table == fitting)
		return table;
	relation = relation_open(table, NoLock);
	*misfit = misfit_of(relation);
	relation_close(relation, NoLock);
	if (*misfit == NULL && before == changes)
		fitting = table;
	return table;
}

Oid
sl_events_lock(LOCKMODE mode)
{
	char *misfit;
	Oid	  table = look_at_table(mode, &misfit);

	if (OidIsValid(table) && misfit == NULL)
		return table;
	if (misfit == NULL)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("there is no table smartlead_events"),
						errhint("Make it: SELECT smartlead_create_events().")));
	ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					errmsg("relation \"smartlead_events\" can't hold events"),
					errdetail_internal("%s", misfit),
					errhint("Mend it, or give it another name and SELECT "
							"smartlead_create_events().")));
}

bool
sl_events_fit(Oid *table)
{
	char *misfit;

	*table = look_at_table(AccessShareLock, &misfit);
	return OidIsValid(*table) && misfit == NULL;
}

void
sl_events_create(void)
{
	const SlEventObjects *ours = sl_event_objects();
	SlUserContext		  caller;
	Oid					  table;

	/* Of a new extension, ids begin anew: those of a table that is there are looked at first. */
	if (sl_events_fit(&table) && sl_last_event_id() > 0)
		return;
	sl_become_owner(ours->keys, &caller);
	if (SPI_execute(psprintf("SELECT %s.smartlead_create_events()", ours->schema_name), false, 0) !=
		SPI_OK_SELECT)
		elog(ERROR, "could not make the table of events");
	sl_become_oneself(&caller);
}

/*
 * smartlead_check_events() → regclass: the table of events
 *
 * Raises if there is none, and what keeps the receiver from writing into what is in its place.
 */
Datum
smartlead_check_events(PG_FUNCTION_ARGS)
{
	PG_RETURN_OID(sl_events_lock(AccessShareLock));
}
