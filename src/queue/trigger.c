/*
 * queue/trigger.c
 *		The trigger on smartlead_events that runs the automations.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "commands/trigger.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/rel.h"
#include "utils/rls.h"

#include "connection/connection.h"
#include "queue/automation.h"
#include "webhook/webhook.h"

PG_FUNCTION_INFO_V1(smartlead_run_automations);

/* Of the one trigger that the function is made for: elsewhere there is no event to be read. */
static TriggerData *
trigger_data(FunctionCallInfo fcinfo)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_AFTER(trigger->tg_event) ||
		!TRIGGER_FIRED_FOR_ROW(trigger->tg_event) || !TRIGGER_FIRED_BY_INSERT(trigger->tg_event) ||
		strcmp(RelationGetRelationName(trigger->tg_relation), "smartlead_events") != 0)
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("smartlead_run_automations() is for a trigger AFTER INSERT ON "
							   "smartlead_events FOR EACH ROW")));
	return trigger;
}

static char *
column_text(const TriggerData *trigger, const char *name)
{
	TupleDesc descriptor = RelationGetDescr(trigger->tg_relation);

	return SPI_getvalue(trigger->tg_trigtuple, descriptor, SPI_fnumber(descriptor, name));
}

/*
 * Automations use their owners' keys. So they act for what the receiver has got by a webhook of that
 * connection, and for what somebody inserted who may use the connection as well.
 */
static bool
may_be_acted_on(int64 id, const char *connection)
{
	return sl_event_is_being_stored(id, connection) ||
		   sl_connection_is_usable(connection, GetUserId());
}

static void
warn_of_no_action(int64 id, const char *connection)
{
	ereport(WARNING, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					  errmsg("no automation acts for event " INT64_FORMAT, id),
					  errdetail("Role \"%s\" has inserted it without USAGE on connection \"%s\".",
								GetUserNameFromId(GetUserId(), true), connection)));
}

/*
 * The trigger function. Does nothing while a dump is being loaded (pg_restore and psql switch
 * row_security off for that): those events have had their automations.
 */
Datum
smartlead_run_automations(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = trigger_data(fcinfo);
	char		*connection;
	int64		 id;

	if (!row_security || !sl_automations_wanted(column_text(trigger, "kind")))
		return PointerGetDatum(NULL);
	connection = column_text(trigger, "connection");
	id = strtoi64(column_text(trigger, "id"), NULL, 10);
	if (may_be_acted_on(id, connection))
		sl_automations_run(RelationGetDescr(trigger->tg_relation), &trigger->tg_trigtuple, 1);
	else
		warn_of_no_action(id, connection);
	return PointerGetDatum(NULL);
}
