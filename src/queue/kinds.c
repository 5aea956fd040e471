/*
 * queue/kinds.c
 *		The kinds of events that have automations, kept in memory.
 *
 * Every event of every connection is asked about, and most events have no automation: for those it
 * must cost next to nothing.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "access/xact.h"
#include "executor/spi.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "queue/automation.h"
#include "queue/owner.h"
#include "watch/relations.h"
#include "worker/worker.h"

static MemoryContext context = NULL;
static List			*kinds = NIL;
static Oid			 relation = InvalidOid; /* whose rows they come from */
static bool			 stale = true;

static void
relation_changed(Oid changed)
{
	if (!OidIsValid(changed) || changed == relation)
		stale = true;
}

static void
forget(void)
{
	if (context == NULL)
	{
		context =
			AllocSetContextCreate(TopMemoryContext, "smartlead automations", ALLOCSET_SMALL_SIZES);
		sl_watch_relations(relation_changed);
	}
	kinds = NIL;
	MemoryContextReset(context);
}

static void
read_kinds(Oid schema)
{
	SlOwnerWork work;

	sl_owner_begin(&work, schema);
	sl_owner_execute(&work, "SELECT DISTINCT event_type FROM %s.smartlead_automations", 0, NULL,
					 NULL, NULL);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		char		 *kind = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1);
		MemoryContext caller = MemoryContextSwitchTo(context);

		kinds = lappend(kinds, pstrdup(kind));
		MemoryContextSwitchTo(caller);
	}
	sl_owner_end(&work);
}

static void
load(void)
{
	Oid schema = sl_extension_schema();

	forget();
	if (!OidIsValid(schema))
		return;
	relation = get_relname_relid("smartlead_automations", schema);
	stale = false;
	PG_TRY();
	{
		read_kinds(schema);
	}
	PG_CATCH();
	{
		stale = true;
		PG_RE_THROW();
	}
	PG_END_TRY();

	/* A snapshot older than the message of a change doesn't show that change. */
	if (IsolationUsesXactSnapshot())
		stale = true;
}

bool
sl_automations_wanted(const char *kind)
{
	ListCell *cell;

	if (kind == NULL)
		return false;
	if (stale)
		load();
	foreach (cell, kinds)
		if (strcmp(lfirst(cell), kind) == 0)
			return true;
	return false;
}
