/*
 * queue/trigger.c
 *		The trigger on smartlead_events that runs the automations.
 *
 * An automation that fails must not lose the event, nor stop other automations: each runs in a
 * subtransaction of its own, and what goes wrong becomes a job in the dead letter.
 *
 * An automation whose action causes the very event that it reacts to would run for ever. Three
 * things keep it from that. A category that the event says is set already is not set again. What
 * unsubscribes a lead because it was unsubscribed does so once in five minutes. And no automation
 * acts on the same lead more than max_per_hour times within an hour: what is too much goes to the
 * dead letter, where it causes nothing, and says so. The first two stop the loops that can be told
 * from the actions, the last one all others, such as two automations that undo each other's work.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/guc.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/timestamp.h"

#include "api/endpoints.h"
#include "connection/connection.h"
#include "queue/automation.h"
#include "queue/owner.h"
#include "queue/queue.h"
#include "webhook/webhook.h"
#include "worker/worker.h"

#define UNSUBSCRIBED_AGAIN_S 300

PG_FUNCTION_INFO_V1(smartlead_run_automations);

/* The new row. */
typedef struct Event
{
	HeapTuple		 row;
	TupleDesc		 descriptor;
	const char		*kind;
	const char		*connection;
	const char		*subject; /* whom or what it is about */
	int64			 id;
	SlTemplateSource source;
} Event;

typedef struct Automation
{
	int64		id;
	Oid			owner;
	const char *action;
	Jsonb	   *args;
	Datum		condition;
	bool		has_condition;
	const char *connection;
	int32		max_per_hour;
} Automation;

/* ---- the event ---- */

static char *
column_text(const Event *event, const char *name)
{
	int number = SPI_fnumber(event->descriptor, name);

	return number > 0 ? SPI_getvalue(event->row, event->descriptor, number) : NULL;
}

/* A column's value in JSON. False: it is NULL or of a type that templates don't know. */
static bool
column_json(const Event *event, int number, JsonbValue *value)
{
	Oid	  type = SPI_gettypeid(event->descriptor, number);
	bool  is_null;
	Datum datum = SPI_getbinval(event->row, event->descriptor, number, &is_null);
	char *content;

	if (is_null)
		return false;
	switch (type)
	{
		case INT4OID:
		case INT8OID:
			value->type = jbvNumeric;
			value->val.numeric =
				DatumGetNumeric(type == INT4OID ? DirectFunctionCall1(int4_numeric, datum)
												: DirectFunctionCall1(int8_numeric, datum));
			return true;
		case TEXTOID:
			content = TextDatumGetCString(datum);
			break;
		case TIMESTAMPTZOID:
			content = JsonEncodeDateTime(palloc(MAXDATELEN + 1), datum, TIMESTAMPTZOID, NULL);
			break;
		default:
			return false;
	}
	value->type = jbvString;
	value->val.string.val = content;
	value->val.string.len = strlen(content);
	return true;
}

/* The event's columns as an object; those that are NULL as null, so that paths may name them. */
static Jsonb *
columns_of(const Event *event)
{
	JsonbParseState *state = NULL;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	for (int i = 1; i <= event->descriptor->natts; i++)
	{
		JsonbValue key, value;

		if (TupleDescAttr(event->descriptor, i - 1)->attisdropped)
			continue;
		key.type = jbvString;
		key.val.string.val = SPI_fname(event->descriptor, i);
		key.val.string.len = strlen(key.val.string.val);
		if (strcmp(key.val.string.val, "payload") == 0)
			continue;
		if (!column_json(event, i, &value))
			value.type = jbvNull;
		pushJsonbValue(&state, WJB_KEY, &key);
		pushJsonbValue(&state, WJB_VALUE, &value);
	}
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

static const char *
subject_of(const Event *event)
{
	static const char *const columns[] = {"lead_id", "lead_email", "campaign_id"};

	for (int i = 0; i < lengthof(columns); i++)
	{
		char *text = column_text(event, columns[i]);

		if (text != NULL)
			return psprintf("%s %s", columns[i], text);
	}
	return event->kind;
}

static void
read_event(TriggerData *trigger, Event *event)
{
	bool is_null;

	event->row = trigger->tg_trigtuple;
	event->descriptor = RelationGetDescr(trigger->tg_relation);
	event->kind = column_text(event, "kind");
	event->connection = column_text(event, "connection");
	event->id = DatumGetInt64(SPI_getbinval(event->row, event->descriptor,
											SPI_fnumber(event->descriptor, "id"), &is_null));
}

/* What only events with an automation need. */
static void
read_event_fully(Event *event)
{
	bool  is_null;
	Datum payload = SPI_getbinval(event->row, event->descriptor,
								  SPI_fnumber(event->descriptor, "payload"), &is_null);

	if (event->source.payload != NULL)
		return;
	event->source.payload = DatumGetJsonbP(payload);
	event->source.columns = columns_of(event);
	event->subject = subject_of(event);
}

/* ---- guards against loops ---- */

static int64
count_jobs(const SlOwnerWork *work, const Automation *automation, const Event *event, int seconds,
		   const Jsonb *args, int limit)
{
	Oid	  types[] = {INT8OID, TEXTOID, TIMESTAMPTZOID, JSONBOID, INT8OID};
	Datum values[] = {Int64GetDatum(automation->id), CStringGetTextDatum(event->subject),
					  TimestampTzGetDatum(GetCurrentTimestamp() - seconds * USECS_PER_SEC),
					  PointerGetDatum(args), Int64GetDatum(limit)};
	bool  is_null;

	sl_owner_execute(work,
					 "SELECT pg_catalog.count(*) FROM (SELECT FROM %s.smartlead_queue "
					 "WHERE automation_id OPERATOR(pg_catalog.=) $1 "
					 "AND event_subject OPERATOR(pg_catalog.=) $2 "
					 "AND created_at OPERATOR(pg_catalog.>) $3 "
					 "AND ($4 IS NULL OR args OPERATOR(pg_catalog.=) $4) "
					 "AND state OPERATOR(pg_catalog.=) ANY ('{ready,running,done}') "
					 "LIMIT $5) jobs",
					 5, types, values, args == NULL ? "   n " : NULL);
	return DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &is_null));
}

static bool
is_text_member(Jsonb *args, const char *name, const char *text)
{
	JsonbValue	key;
	JsonbValue *found;
	char	   *value;

	key.type = jbvString;
	key.val.string.val = unconstify(char *, name);
	key.val.string.len = strlen(name);
	found = findJsonbValueFromContainer(&args->root, JB_FOBJECT, &key);
	if (found == NULL || text == NULL)
		return false;
	if (found->type == jbvString)
		value = pnstrdup(found->val.string.val, found->val.string.len);
	else if (found->type == jbvNumeric)
		value =
			DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(found->val.numeric)));
	else
		return false;
	return pg_strcasecmp(value, text) == 0;
}

/* The action would only do what the event tells to have been done. */
static bool
is_done_already(const SlOwnerWork *work, const Automation *automation, const Event *event,
				Jsonb *args)
{
	const char *category = column_text(event, "category");
	const char *category_id = column_text(event, "category_id");

	if (strcmp(event->kind, "LEAD_CATEGORY_UPDATED") == 0)
	{
		if (strcmp(automation->action, "update_lead_category") == 0)
			return is_text_member(args, "category", category) ||
				   is_text_member(args, "category_id", category_id);
		return strcmp(automation->action, "clear_lead_category") == 0 && category == NULL &&
			   category_id == NULL;
	}
	return strcmp(event->kind, "LEAD_UNSUBSCRIBED") == 0 &&
		   (strcmp(automation->action, "unsubscribe_lead") == 0 ||
			strcmp(automation->action, "unsubscribe_campaign_lead") == 0) &&
		   count_jobs(work, automation, event, UNSUBSCRIBED_AGAIN_S, args, 1) > 0;
}

static void
check_not_running_away(const SlOwnerWork *work, const Automation *automation, const Event *event)
{
	if (count_jobs(work, automation, event, SECS_PER_HOUR, NULL, automation->max_per_hour) >=
		automation->max_per_hour)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("automation " INT64_FORMAT " has acted on \"%s\" %d times within an hour",
						automation->id, event->subject, automation->max_per_hour)));
}

/* ---- automations ---- */

/* An automation and the event that it is for. */
typedef struct Match
{
	Oid				   schema;
	const SlOwnerWork *work;
	const Automation  *automation;
	Event			  *event;
	SlNewJob		   job;
	bool			   in_condition; /* which may throw */
} Match;

static void
enqueue(void *argument)
{
	Match			 *match = argument;
	const Automation *automation = match->automation;
	Event			 *event = match->event;

	match->in_condition = true;
	if (automation->has_condition && !sl_template_matches(automation->condition, &event->source))
		return;
	match->in_condition = false;
	match->job.args = sl_template_fill(automation->args, &event->source);
	if (is_done_already(match->work, automation, event, match->job.args))
		return;
	check_not_running_away(match->work, automation, event);
	sl_queue_enqueue(match->schema, &match->job);
}

/* Errors that are not the automation's: a cancel, a deadlock, a shutdown, a full disk. */
static bool
is_passing(int sqlstate)
{
	int category = ERRCODE_TO_CATEGORY(sqlstate);

	return category == ERRCODE_TO_CATEGORY(ERRCODE_OPERATOR_INTERVENTION) ||
		   category == ERRCODE_TO_CATEGORY(ERRCODE_TRANSACTION_ROLLBACK) ||
		   category == ERRCODE_TO_CATEGORY(ERRCODE_INSUFFICIENT_RESOURCES);
}

static void
run_automation(Oid schema, const SlOwnerWork *work, const Automation *automation, Event *event)
{
	Match	   match = {schema, work, automation, event};
	SlNewJob  *job = &match.job;
	ErrorData *error;

	job->action = automation->action;
	job->args = automation->args;
	job->connection = automation->connection != NULL ? automation->connection : event->connection;
	job->run_as = automation->owner;
	job->automation_id = automation->id;
	job->event_id = event->id;
	job->event_subject = event->subject;
	error = sl_attempt(enqueue, &match);
	if (error == NULL)
		return;
	if (is_passing(error->sqlerrcode))
		ReThrowError(error);
	if (match.in_condition)
	{
		sl_automation_record_trouble(work, automation->id, error);
		return;
	}
	job->failure = error;
	sl_queue_enqueue(schema, job);
}

static Automation *
automations_for(const SlOwnerWork *work, const Event *event, int *n)
{
	Oid	  types[] = {TEXTOID, TEXTOID};
	Datum values[] = {CStringGetTextDatum(event->kind), CStringGetTextDatum(event->connection)};
	Automation *found;

	*n = (int) sl_owner_execute(
		work,
		"SELECT id, owner::pg_catalog.oid, action, args, condition, connection, max_per_hour "
		"FROM %s.smartlead_automations WHERE event_type OPERATOR(pg_catalog.=) $1 "
		"AND (connection IS NULL OR connection OPERATOR(pg_catalog.=) $2) ORDER BY id",
		2, types, values, NULL);
	found = palloc0(sizeof(Automation) * Max(*n, 1));
	for (int i = 0; i < *n; i++)
	{
		HeapTuple row = SPI_tuptable->vals[i];
		TupleDesc descriptor = SPI_tuptable->tupdesc;
		bool	  is_null;

		found[i].id = DatumGetInt64(SPI_getbinval(row, descriptor, 1, &is_null));
		found[i].owner = DatumGetObjectId(SPI_getbinval(row, descriptor, 2, &is_null));
		found[i].action = SPI_getvalue(row, descriptor, 3);
		found[i].args = DatumGetJsonbP(SPI_getbinval(row, descriptor, 4, &is_null));
		found[i].condition = SPI_getbinval(row, descriptor, 5, &is_null);
		found[i].has_condition = !is_null;
		found[i].connection = SPI_getvalue(row, descriptor, 6);
		found[i].max_per_hour = DatumGetInt32(SPI_getbinval(row, descriptor, 7, &is_null));
	}
	return found;
}

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

/*
 * Automations use their owners' keys. So they act for what the receiver has got by a webhook of that
 * connection, and for what somebody inserted who may use the connection as well.
 */
static bool
may_be_acted_on(const Event *event)
{
	return sl_event_is_being_stored(event->id, event->connection) ||
		   sl_connection_is_usable(event->connection, GetUserId());
}

static void
warn_of_no_action(const Event *event)
{
	ereport(WARNING, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					  errmsg("no automation acts for event " INT64_FORMAT, event->id),
					  errdetail("Role \"%s\" has inserted it without USAGE on connection \"%s\".",
								GetUserNameFromId(GetUserId(), true), event->connection)));
}

/*
 * The trigger function. Does nothing while a dump is being loaded (pg_restore and psql switch
 * row_security off for that): those events have had their automations.
 */
Datum
smartlead_run_automations(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = trigger_data(fcinfo);
	Event		 event = {0};
	Automation	*automations;
	SlOwnerWork	 work;
	Oid			 schema;
	bool		 allowed;
	int			 n;

	schema = RelationGetNamespace(trigger->tg_relation);
	read_event(trigger, &event);
	if (!row_security || event.kind == NULL || !sl_kind_has_automations(event.kind, schema))
		return PointerGetDatum(NULL);
	allowed = may_be_acted_on(&event);
	sl_owner_begin(&work, schema);
	automations = automations_for(&work, &event, &n);
	for (int i = 0; i < n && allowed; i++)
	{
		read_event_fully(&event);
		run_automation(schema, &work, &automations[i], &event);
	}
	sl_owner_end(&work);
	if (n > 0 && !allowed)
		warn_of_no_action(&event);
	return PointerGetDatum(NULL);
}
