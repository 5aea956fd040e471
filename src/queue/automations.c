/*
 * queue/automations.c
 *		Runs the automations for events that are being stored.
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
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "queue/automation.h"
#include "queue/owner.h"
#include "queue/queue.h"
#include "worker/worker.h"

#define UNSUBSCRIBED_AGAIN_S 300

/* The columns that are looked at by themselves, besides what templates name. */
typedef enum Column
{
	ID,
	KIND,
	CONNECTION,
	CAMPAIGN_ID,
	LEAD_ID,
	LEAD_EMAIL,
	CATEGORY,
	CATEGORY_ID,
	PAYLOAD,
	N_COLUMNS
} Column;

static const char *const column_names[] = {"id",		  "kind",		 "connection",
										   "campaign_id", "lead_id",	 "lead_email",
										   "category",	  "category_id", "payload"};

StaticAssertDecl(lengthof(column_names) == N_COLUMNS, "each column has a name");

/* What the rows of a call have in common. */
typedef struct Shape
{
	TupleDesc descriptor;
	int		  numbers[N_COLUMNS];
} Shape;

typedef struct Event
{
	HeapTuple		 row;
	const Shape		*shape;
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

/* The automations for a kind of events of a connection. */
typedef struct Automations
{
	const char *kind;
	const char *connection;
	Automation *automations;
	int			n;
} Automations;

/* ---- the event ---- */

static void
find_columns(Shape *shape, TupleDesc descriptor)
{
	shape->descriptor = descriptor;
	for (int i = 0; i < N_COLUMNS; i++)
	{
		shape->numbers[i] = SPI_fnumber(descriptor, column_names[i]);
		if (shape->numbers[i] <= 0)
			elog(ERROR, "an event's row has no column \"%s\"", column_names[i]);
	}
}

static Datum
column(const Event *event, Column which, bool *is_null)
{
	return SPI_getbinval(event->row, event->shape->descriptor, event->shape->numbers[which],
						 is_null);
}

static char *
column_text(const Event *event, Column which)
{
	return SPI_getvalue(event->row, event->shape->descriptor, event->shape->numbers[which]);
}

/* A column's value in JSON. False: it is NULL or of a type that templates don't know. */
static bool
column_json(const Event *event, int number, JsonbValue *value)
{
	Oid	  type = SPI_gettypeid(event->shape->descriptor, number);
	bool  is_null;
	Datum datum = SPI_getbinval(event->row, event->shape->descriptor, number, &is_null);
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
	TupleDesc		 descriptor = event->shape->descriptor;
	JsonbParseState *state = NULL;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	for (int i = 1; i <= descriptor->natts; i++)
	{
		JsonbValue key, value;

		if (TupleDescAttr(descriptor, i - 1)->attisdropped || i == event->shape->numbers[PAYLOAD])
			continue;
		key.type = jbvString;
		key.val.string.val = SPI_fname(descriptor, i);
		key.val.string.len = strlen(key.val.string.val);
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
	static const Column columns[] = {LEAD_ID, LEAD_EMAIL, CAMPAIGN_ID};

	for (int i = 0; i < lengthof(columns); i++)
	{
		char *text = column_text(event, columns[i]);

		if (text != NULL)
			return psprintf("%s %s", column_names[columns[i]], text);
	}
	return event->kind;
}

/* Without a payload, a condition finds nothing and templates are filled with null. */
static Jsonb *
payload_of(const Event *event)
{
	bool	   is_null;
	Datum	   payload = column(event, PAYLOAD, &is_null);
	JsonbValue nothing = {.type = jbvNull};

	return is_null ? JsonbValueToJsonb(&nothing) : DatumGetJsonbP(payload);
}

/* False: there is nothing to be known about it, since a trigger has left out what it is. */
static bool
read_event(const Shape *shape, HeapTuple row, Event *event)
{
	bool is_null;

	*event = (Event){.row = row, .shape = shape};
	event->kind = column_text(event, KIND);
	event->connection = column_text(event, CONNECTION);
	event->id = DatumGetInt64(column(event, ID, &is_null));
	return !is_null && event->kind != NULL && event->connection != NULL;
}

/* What only events with an automation need. */
static void
read_event_fully(Event *event)
{
	if (event->source.payload != NULL)
		return;
	event->source.payload = payload_of(event);
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
	int64 count;

	sl_owner_execute(work,
					 "SELECT pg_catalog.count(*) FROM (SELECT FROM %s.smartlead_queue "
					 "WHERE automation_id OPERATOR(pg_catalog.=) $1 "
					 "AND event_subject OPERATOR(pg_catalog.=) $2 "
					 "AND created_at OPERATOR(pg_catalog.>) $3 "
					 "AND ($4 IS NULL OR args OPERATOR(pg_catalog.=) $4) "
					 "AND state OPERATOR(pg_catalog.=) ANY ('{ready,running,done}') "
					 "LIMIT $5) jobs",
					 5, types, values, args == NULL ? "   n " : NULL);
	count = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &is_null));
	SPI_freetuptable(SPI_tuptable);
	return count;
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
	const char *category = column_text(event, CATEGORY);
	const char *category_id = column_text(event, CATEGORY_ID);

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
read_automations(uint64 n)
{
	Automation *found = palloc0(sizeof(Automation) * Max(n, 1));
	TupleDesc	descriptor = SPI_tuptable->tupdesc;

	for (uint64 i = 0; i < n; i++)
	{
		HeapTuple row = SPI_tuptable->vals[i];
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

/* In the memory that lasts until the end of the work, in which rows of SPI lie as well. */
static Automations *
look_up(const SlOwnerWork *work, const Event *event)
{
	Oid	  types[] = {TEXTOID, TEXTOID};
	Datum values[] = {CStringGetTextDatum(event->kind), CStringGetTextDatum(event->connection)};
	Automations *found = palloc(sizeof(Automations));

	found->kind = pstrdup(event->kind);
	found->connection = pstrdup(event->connection);
	found->n = (int) sl_owner_execute(
		work,
		"SELECT id, owner::pg_catalog.oid, action, args, condition, connection, max_per_hour "
		"FROM %s.smartlead_automations WHERE event_type OPERATOR(pg_catalog.=) $1 "
		"AND (connection IS NULL OR connection OPERATOR(pg_catalog.=) $2) ORDER BY id",
		2, types, values, NULL);
	found->automations = read_automations(found->n);
	return found;
}

/* Events come by the hundred, of few kinds and connections. */
static const Automations *
automations_for(const SlOwnerWork *work, List **known, const Event *event, MemoryContext memory)
{
	MemoryContext caller;
	ListCell	 *cell;

	foreach (cell, *known)
	{
		const Automations *automations = lfirst(cell);

		if (strcmp(automations->kind, event->kind) == 0 &&
			strcmp(automations->connection, event->connection) == 0)
			return automations;
	}
	caller = MemoryContextSwitchTo(memory);
	*known = lappend(*known, look_up(work, event));
	MemoryContextSwitchTo(caller);
	return llast(*known);
}

static void
run_all(Oid schema, const SlOwnerWork *work, const Automations *automations, Event *event)
{
	for (int i = 0; i < automations->n; i++)
	{
		read_event_fully(event);
		run_automation(schema, work, &automations->automations[i], event);
	}
}

static void
run_rows(Oid schema, const SlOwnerWork *work, const Shape *shape, HeapTuple *rows, int n)
{
	MemoryContext all = CurrentMemoryContext;
	MemoryContext each = AllocSetContextCreate(all, "smartlead event", ALLOCSET_DEFAULT_SIZES);
	List		 *known = NIL;

	for (int i = 0; i < n; i++)
	{
		Event event;

		MemoryContextReset(each);
		MemoryContextSwitchTo(each);
		if (read_event(shape, rows[i], &event) && sl_automations_wanted(event.kind))
			run_all(schema, work, automations_for(work, &known, &event, all), &event);
		MemoryContextSwitchTo(all);
	}
	MemoryContextDelete(each);
}

void
sl_automations_run(TupleDesc descriptor, HeapTuple *rows, int n)
{
	Oid			schema = sl_extension_schema();
	Shape		shape;
	SlOwnerWork work;

	find_columns(&shape, descriptor);
	sl_owner_begin(&work, schema);
	run_rows(schema, &work, &shape, rows, n);
	sl_owner_end(&work);
}
