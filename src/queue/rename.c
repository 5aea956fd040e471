/*
 * queue/rename.c
 *		What follows a connection that is renamed.
 *
 * Jobs, automations, webhooks and events hold their connection's name. An event trigger on ALTER
 * SERVER ... RENAME gives them the new one, in the same transaction. The table of events is the
 * user's own: if there is one, it is changed as its owner.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "catalog/pg_type.h"
#include "commands/event_trigger.h"
#include "foreign/foreign.h"
#include "nodes/parsenodes.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "events/events.h"
#include "queue/owner.h"
#include "queue/queue.h"

PG_FUNCTION_INFO_V1(smartlead_server_renamed);

/*
 * The triggers on events are users' own, and nothing in there happens anew: they don't run. All else
 * that the owner's work sets is undone with it, and this too.
 */
static void
switch_triggers_off(void)
{
	(void) set_config_option("session_replication_role", "replica", PGC_SUSET, PGC_S_OVERRIDE,
							 GUC_ACTION_SAVE, true, 0, false);
}

static void
rename_in(const SlOwnerWork *work, const char *table, const char *old, const char *new)
{
	Oid	  types[] = {TEXTOID, TEXTOID};
	Datum values[] = {CStringGetTextDatum(old), CStringGetTextDatum(new)};

	sl_owner_execute(work,
					 psprintf("UPDATE %%s.%s SET connection = $2 "
							  "WHERE connection OPERATOR(pg_catalog.=) $1",
							  table),
					 2, types, values, NULL);
}

static void
rename_in_events(const SlOwnerWork *work, const char *old, const char *new)
{
	SlUserContext caller;
	Oid			  table;

	if (!sl_events_fit(&table))
		return;
	sl_become_owner(table, &caller);
	switch_triggers_off();
	rename_in(work, "smartlead_events", old, new);
	sl_become_oneself(&caller);
}

static void
rename_everywhere(Oid schema, const char *old, const char *new)
{
	static const char *const tables[] = {"smartlead_queue", "smartlead_queue_paused",
										 "smartlead_automations", "smartlead_webhooks",
										 "smartlead_failed_events"};
	SlOwnerWork				 work;
	Oid						 types[] = {TEXTOID};
	Datum					 values[] = {CStringGetTextDatum(new)};

	sl_owner_begin(&work, schema);
	/* Of a connection of that name that is gone. */
	sl_owner_execute(&work,
					 "DELETE FROM %s.smartlead_queue_paused "
					 "WHERE connection OPERATOR(pg_catalog.=) $1",
					 1, types, values, NULL);
	for (int i = 0; i < lengthof(tables); i++)
		rename_in(&work, tables[i], old, new);
	rename_in_events(&work, old, new);
	sl_owner_end(&work);
	sl_queue_wake_at_commit();
}

static bool
is_connection(const char *name)
{
	ForeignServer *server = GetForeignServerByName(name, true);

	return server != NULL && strcmp(GetForeignDataWrapper(server->fdwid)->fdwname, SL_FDW) == 0;
}

/* The event trigger's function, for ALTER SERVER. */
Datum
smartlead_server_renamed(PG_FUNCTION_ARGS)
{
	RenameStmt *statement;

	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("smartlead_server_renamed() is for an event trigger")));
	statement = (RenameStmt *) ((EventTriggerData *) fcinfo->context)->parsetree;
	if (IsA(statement, RenameStmt) && statement->renameType == OBJECT_FOREIGN_SERVER &&
		is_connection(statement->newname))
		rename_everywhere(get_func_namespace(fcinfo->flinfo->fn_oid), strVal(statement->object),
						  statement->newname);
	return PointerGetDatum(NULL);
}
