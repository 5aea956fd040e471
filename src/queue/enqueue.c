/*
 * queue/enqueue.c
 *		Writes a job's row in the caller's transaction, after checking everything that can be checked
 *		without asking Smartlead.
 *
 * The row is written as the table's owner: users have no such privilege, so that nobody can enqueue
 * what was not checked here, or as somebody else.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "api/arguments.h"
#include "api/endpoints.h"
#include "connection/connection.h"
#include "events/events.h"
#include "queue/automation.h"
#include "queue/join.h"
#include "queue/owner.h"
#include "queue/queue.h"
#include "queue/rights.h"

#define PRIORITY_URGENT 3
#define PRIORITY_DEFAULT 5

PG_FUNCTION_INFO_V1(smartlead_enqueue);

/* ---- checks ---- */

/* The names of the object's members. */
static int
member_names(Jsonb *object, const char **names)
{
	JsonbIterator	  *iterator = JsonbIteratorInit(&object->root);
	JsonbIteratorToken token;
	JsonbValue		   value;
	int				   n = 0;

	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
		if (token == WJB_KEY && n < FUNC_MAX_ARGS)
			names[n++] = pnstrdup(value.val.string.val, value.val.string.len);
	return n;
}

/* "campaign_id, lead_id[, delay_days]", for each form that the action has. */
static char *
describe_params(const char *action)
{
	StringInfoData text;

	initStringInfo(&text);
	for (const SlEndpoint *endpoint = sl_endpoints; endpoint->name != NULL; endpoint++)
	{
		if (strcmp(endpoint->name, action) != 0)
			continue;
		appendStringInfo(&text, "%s(", text.len > 0 ? " or " : "");
		for (int i = 0; endpoint->params[i].name != NULL; i++)
			appendStringInfo(&text, "%s%s%s", i > 0 ? ", " : "", endpoint->params[i].name,
							 endpoint->params[i].required ? "" : " (optional)");
		appendStringInfoChar(&text, ')');
	}
	return text.data;
}

pg_noreturn static void
raise_unfit(const char *action, const char **names, int n)
{
	for (int i = 0; i < n; i++)
	{
		bool known = false;

		for (const SlEndpoint *endpoint = sl_endpoints; endpoint->name != NULL; endpoint++)
			known = known || (strcmp(endpoint->name, action) == 0 &&
							  sl_endpoint_param(endpoint, names[i]) >= 0);
		if (!known)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("\"%s\" has no argument \"%s\"", action, names[i]),
							errhint("Its arguments are %s.", describe_params(action))));
	}
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("\"%s\" can't be called with these arguments", action),
					errdetail("A required one is missing, or some don't go together."),
					errhint("Its arguments are %s.", describe_params(action))));
}

/* The row of the action that has these arguments, after checking the role's right to it. */
static const SlEndpoint *
find_endpoint(Oid schema, const char *action, Jsonb *args, Oid role)
{
	const char		 *names[FUNC_MAX_ARGS];
	const SlEndpoint *endpoint = sl_endpoint_named(action);
	int				  n;

	if (endpoint != NULL && endpoint->internal)
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("action \"%s\" can't be enqueued", action),
						errdetail("It serves the extension itself.")));
	if (endpoint == NULL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("there is no action \"%s\"", action),
						errhint("An action is named as its function without \"smartlead_\": "
								"\"pause_lead\" for smartlead_pause_lead().")));
	if (endpoint->kind == SL_LISTING)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("\"%s\" can't be enqueued", action),
						errdetail("It returns many rows, for which a job has no place.")));
	if (!JB_ROOT_IS_OBJECT(args))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("the arguments of a job must be a JSON object")));
	n = member_names(args, names);
	endpoint = sl_endpoint_find(action, names, n);
	if (endpoint == NULL)
		raise_unfit(action, names, n);
	sl_rights_check(schema, endpoint, names, n, role);
	return endpoint;
}

/* ---- the row ---- */

/* Of the table's columns, in their order; that of run_as is the extension's own. */
static const Oid column_types[] = {
	INT8OID,		TEXTOID,		TEXTOID,		JSONBOID,		NAMEOID, InvalidOid, INT8OID,
	TEXTOID,		INT2OID,		TIMESTAMPTZOID, TIMESTAMPTZOID, INT4OID, INT4OID,	 BOOLOID,
	INT4OID,		JSONBOID,		TEXTOID,		TEXTOID,		INT8OID, INT8OID,	 TEXTOID,
	TIMESTAMPTZOID, TIMESTAMPTZOID, TIMESTAMPTZOID, NAMEOID};

StaticAssertDecl(lengthof(column_types) == SL_JOB_RUN_AS_NAME, "each column has a type");

typedef struct Row
{
	Datum values[SL_JOB_RUN_AS_NAME];
	char  nulls[SL_JOB_RUN_AS_NAME];
} Row;

static void
set(Row *row, SlQueueColumn column, Datum value)
{
	row->values[column - 1] = value;
	row->nulls[column - 1] = ' ';
}

static void
set_text(Row *row, SlQueueColumn column, const char *value)
{
	if (value != NULL)
		set(row, column, CStringGetTextDatum(value));
}

static void
set_number(Row *row, SlQueueColumn column, int64 value)
{
	if (value != 0)
		set(row, column, Int64GetDatum(value));
}

int64
sl_queue_lead(const SlArguments *arguments)
{
	int param = sl_endpoint_param(arguments->endpoint, "lead_id");

	if (param < 0 || arguments->value[param].text == NULL)
		return 0;
	return strtoll(arguments->value[param].text, NULL, 10);
}

/* What keeps mail from people doesn't wait behind a bulk of other things. */
static int
priority_of(const SlNewJob *job)
{
	const SlEndpoint *endpoint = sl_endpoint_named(job->action);

	if (job->priority != 0)
		return job->priority;
	return endpoint != NULL && endpoint->urgent ? PRIORITY_URGENT : PRIORITY_DEFAULT;
}

static void
fill_row(Row *row, const SlNewJob *job, int64 id, const SlArguments *arguments,
		 const char *connection)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz run_at = job->run_at > now ? job->run_at : sl_queue_place(now);
	NameData   *name = palloc0(sizeof(NameData));
	NameData   *role = palloc0(sizeof(NameData));
	const char *role_name = GetUserNameFromId(job->run_as, true);

	namestrcpy(name, connection);
	namestrcpy(role, role_name != NULL ? role_name : "-");
	memset(row->nulls, 'n', sizeof(row->nulls));
	set(row, SL_JOB_ID, Int64GetDatum(id));
	set_text(row, SL_JOB_STATE, job->failure != NULL ? "failed" : "ready");
	set_text(row, SL_JOB_ACTION, job->action);
	set(row, SL_JOB_ARGS, JsonbPGetDatum(job->args));
	set(row, SL_JOB_CONNECTION, NameGetDatum(name));
	set(row, SL_JOB_RUN_AS, ObjectIdGetDatum(job->run_as));
	set(row, SL_JOB_PRIORITY, Int16GetDatum(priority_of(job)));
	set(row, SL_JOB_RUN_AS_NAME, NameGetDatum(role));
	set(row, SL_JOB_RUN_AT, TimestampTzGetDatum(run_at));
	set(row, SL_JOB_DUE_AT, TimestampTzGetDatum(Max(job->run_at, now)));
	set(row, SL_JOB_ATTEMPTS, Int32GetDatum(0));
	set(row, SL_JOB_FAILURES, Int32GetDatum(0));
	set(row, SL_JOB_IN_DOUBT, BoolGetDatum(false));
	set_number(row, SL_JOB_AUTOMATION_ID, job->automation_id);
	set_number(row, SL_JOB_EVENT_ID, job->event_id);
	set_text(row, SL_JOB_EVENT_SUBJECT, job->event_subject);
	set(row, SL_JOB_CREATED_AT, TimestampTzGetDatum(now));
	if (arguments != NULL)
	{
		set_number(row, SL_JOB_LEAD_ID, sl_queue_lead(arguments));
		set_text(row, SL_JOB_JOIN_KEY, sl_join_key(arguments));
	}
	if (job->failure != NULL)
	{
		set_text(row, SL_JOB_LAST_ERROR, job->failure->message);
		set_text(row, SL_JOB_SQLSTATE, unpack_sql_state(job->failure->sqlerrcode));
		set(row, SL_JOB_FINISHED_AT, TimestampTzGetDatum(now));
	}
}

/* INSERT INTO smartlead_queue with a parameter for each column that a new row is given. */
static SPIPlanPtr
insertion(const SlOwnerWork *work, Oid table)
{
	static SlPlan  plan;
	Oid			   types[lengthof(column_types)];
	StringInfoData columns, parameters;

	if (sl_plan_is_ready(&plan))
		return plan.plan;
	initStringInfo(&columns);
	initStringInfo(&parameters);
	for (int i = 1; i <= lengthof(types); i++)
	{
		types[i - 1] = i == SL_JOB_RUN_AS ? get_atttype(table, i) : column_types[i - 1];
		appendStringInfo(&columns, "%s%s", i == 1 ? "" : ", ",
						 quote_identifier(get_attname(table, i, false)));
		appendStringInfo(&parameters, "%s$%d", i == 1 ? "" : ", ", i);
	}
	sl_plan_make(&plan,
				 psprintf("INSERT INTO %s." SL_QUEUE_TABLE " (%s) VALUES (%s)", work->schema,
						  columns.data, parameters.data),
				 lengthof(types), types);
	return plan.plan;
}

static int64
write_row(Oid schema, const SlNewJob *job, const SlArguments *arguments, const char *connection)
{
	Oid			table = get_relname_relid(SL_QUEUE_TABLE, schema);
	Oid			sequence = get_relname_relid(SL_QUEUE_SEQUENCE, schema);
	SlOwnerWork work;
	Row			row;
	int64		id;

	if (!OidIsValid(table) || !OidIsValid(sequence))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("the queue's table \"%s\" does not exist", SL_QUEUE_TABLE),
				 errhint("Bring the extension up to date: ALTER EXTENSION smartlead UPDATE.")));
	id = nextval_internal(sequence, false);
	fill_row(&row, job, id, arguments, connection);
	sl_owner_begin(&work, schema);
	if (SPI_execute_plan(insertion(&work, table), row.values, row.nulls, false, 0) != SPI_OK_INSERT)
		elog(ERROR, "could not write a job");
	sl_owner_end(&work);
	return id;
}

const char *
sl_queue_check(Oid schema, const SlNewJob *job, SlArguments **arguments)
{
	*arguments = sl_arguments(find_endpoint(schema, job->action, job->args, job->run_as));
	sl_arguments_set_jsonb(*arguments, job->args);
	sl_arguments_check(*arguments);
	return sl_connection_resolve(job->connection, job->run_as)->name;
}

void
sl_queue_check_template(Oid schema, const SlNewJob *job)
{
	SlArguments *arguments =
		sl_arguments(find_endpoint(schema, job->action, job->args, job->run_as));

	sl_arguments_set_jsonb(arguments, sl_template_fill(job->args, NULL));
}

int64
sl_queue_enqueue(Oid schema, const SlNewJob *job)
{
	SlArguments *arguments = NULL;
	const char	*connection = job->connection;

	if (job->failure == NULL)
	{
		connection = sl_queue_check(schema, job, &arguments);
		sl_queue_wake_at_commit();
	}
	return write_row(schema, job, arguments, connection);
}

static int
read_priority(int32 priority)
{
	if (priority < SL_PRIORITY_FIRST || priority > SL_PRIORITY_LAST)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("priority %d is not between %d and %d", priority, SL_PRIORITY_FIRST,
							   SL_PRIORITY_LAST),
						errhint("Jobs of priority %d go first.", SL_PRIORITY_FIRST)));
	return priority;
}

/*
 * smartlead_enqueue(action text, args jsonb, run_at timestamptz, connection name,
 *					 priority integer) → bigint
 *
 * Everything is checked that can be without Smartlead; the job then runs after commit, as the
 * current user. Among the user's jobs on that connection, those of priority 1 go first, of 9 last.
 */
Datum
smartlead_enqueue(PG_FUNCTION_ARGS)
{
	SlNewJob job = {0};

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("action and args must not be NULL")));
	PreventCommandIfReadOnly("smartlead_enqueue()");
	job.action = text_to_cstring(PG_GETARG_TEXT_PP(0));
	job.args = PG_GETARG_JSONB_P(1);
	job.run_at = PG_ARGISNULL(2) ? 0 : PG_GETARG_TIMESTAMPTZ(2);
	job.connection = PG_ARGISNULL(3) ? NULL : NameStr(*PG_GETARG_NAME(3));
	job.priority = PG_ARGISNULL(4) ? 0 : read_priority(PG_GETARG_INT32(4));
	job.run_as = GetUserId();
	PG_RETURN_INT64(sl_queue_enqueue(get_func_namespace(fcinfo->flinfo->fn_oid), &job));
}
