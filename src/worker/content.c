/*
 * worker/content.c
 *		Tables whose rows are kept in memory: tells who keeps them that they have changed.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "commands/trigger.h"
#include "utils/inval.h"
#include "utils/rel.h"

PG_FUNCTION_INFO_V1(smartlead_content_changed);

/*
 * smartlead_content_changed() → trigger
 *
 * After each statement on such a table. Makes the change of rows a change of the relation in the
 * eyes of the server's cache invalidation, which reaches every session and worker once this
 * transaction has committed, before they begin their next one.
 */
Datum
smartlead_content_changed(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_AFTER(trigger->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("smartlead_content_changed() is for a trigger AFTER what changes rows")));
	CacheInvalidateRelcache(trigger->tg_relation);
	return PointerGetDatum(NULL);
}
