/*
 * queue/automate.c
 *		Makes an automation, after checking all that can be checked before its first event.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"

#include "api/arguments.h"
#include "connection/connection.h"
#include "queue/automation.h"
#include "queue/owner.h"
#include "queue/queue.h"
#include "webhook/webhook.h"

PG_FUNCTION_INFO_V1(smartlead_automate);

/* "Email Replied", "email-reply" and "EMAIL_REPLY" are the same. */
static const char *
read_event_type(const char *text)
{
	SlEventKind kind;
	const char *name = sl_event_kind(text, &kind);

	if (name == NULL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"event_type\" must not be empty")));
	if (kind == SL_UNKNOWN_KIND)
		ereport(WARNING,
				(errmsg("\"%s\" is no type of event that Smartlead is known to send", name),
				 errhint("Among the known types are EMAIL_SENT, EMAIL_OPEN, EMAIL_LINK_CLICK, "
						 "EMAIL_REPLY, EMAIL_BOUNCE, LEAD_UNSUBSCRIBED and "
						 "LEAD_CATEGORY_UPDATED.")));
	return name;
}

/*
 * The row is passed over when another receiver has it: its note will do, and nobody waits for a
 * transaction whose triggers may take long.
 */
void
sl_automation_record_trouble(const SlOwnerWork *work, int64 automation, const ErrorData *error)
{
	Oid	  types[] = {INT8OID, TEXTOID};
	Datum values[] = {Int64GetDatum(automation),
					  CStringGetTextDatum(error->message ? error->message : "unknown error")};

	if (IsolationUsesXactSnapshot())
		return; /* what others have noted would be an error */
	sl_owner_execute(work,
					 "UPDATE %1$s.smartlead_automations SET condition_error = $2, "
					 "condition_failed_at = pg_catalog.clock_timestamp() WHERE id "
					 "OPERATOR(pg_catalog.=) (SELECT id FROM %1$s.smartlead_automations WHERE id "
					 "OPERATOR(pg_catalog.=) $1 AND (condition_failed_at IS NULL OR "
					 "condition_failed_at OPERATOR(pg_catalog.<) (pg_catalog.clock_timestamp() "
					 "OPERATOR(pg_catalog.-) '1 minute'::pg_catalog.interval)) "
					 "FOR UPDATE SKIP LOCKED)",
					 2, types, values, NULL);
}

static void
check_not_null(FunctionCallInfo fcinfo)
{
	static const char *const names[] = {"event_type", "action", "args", NULL, "max_per_hour"};

	for (int i = 0; i < lengthof(names); i++)
		if (names[i] != NULL && PG_ARGISNULL(i))
			ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
							errmsg("argument \"%s\" must not be NULL", names[i])));
}

static int64
insert(FunctionCallInfo fcinfo, const char *event_type, Oid owner)
{
	Oid	  types[] = {OIDOID, TEXTOID, TEXTOID, JSONBOID, JSONPATHOID, NAMEOID, INT4OID};
	Datum values[] = {ObjectIdGetDatum(owner), CStringGetTextDatum(event_type),
					  PG_GETARG_DATUM(1),	   PG_GETARG_DATUM(2),
					  PG_GETARG_DATUM(3),	   PG_GETARG_DATUM(5),
					  PG_GETARG_DATUM(4)};
	char  nulls[] = "       ";
	bool  is_null;
	int64 id;

	SlOwnerWork work;

	nulls[4] = PG_ARGISNULL(3) ? 'n' : ' ';
	nulls[5] = PG_ARGISNULL(5) ? 'n' : ' ';
	sl_owner_begin(&work, get_func_namespace(fcinfo->flinfo->fn_oid));
	sl_owner_execute(&work,
					 "INSERT INTO %s.smartlead_automations (owner, event_type, action, args, "
					 "condition, connection, max_per_hour) VALUES ($1, $2, $3, $4, $5, $6, $7) "
					 "RETURNING id",
					 7, types, values, nulls);
	id = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &is_null));
	sl_owner_end(&work);
	return id;
}

/*
 * smartlead_automate(event_type text, action text, args jsonb, condition jsonpath,
 *					  max_per_hour integer, connection name) → bigint
 *
 * Raises for an unknown action, names of arguments that don't go together, constants of the wrong
 * type, paths that can't be read, columns that aren't there, and without the right to the connection.
 */
Datum
smartlead_automate(PG_FUNCTION_ARGS)
{
	SlNewJob	job = {0};
	const char *event_type;
	Oid			schema = get_func_namespace(fcinfo->flinfo->fn_oid);

	check_not_null(fcinfo);
	PreventCommandIfReadOnly("smartlead_automate()");
	event_type = read_event_type(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	job.action = text_to_cstring(PG_GETARG_TEXT_PP(1));
	job.args = PG_GETARG_JSONB_P(2);
	job.connection = PG_ARGISNULL(5) ? NULL : NameStr(*PG_GETARG_NAME(5));
	job.run_as = GetUserId();
	if (PG_GETARG_INT32(4) < 1)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"max_per_hour\" must be at least 1")));
	sl_queue_check_template(schema, &job);
	sl_template_check_columns(schema, job.args, !PG_ARGISNULL(3), PG_GETARG_DATUM(3));
	if (job.connection != NULL)
		sl_connection_resolve(job.connection, job.run_as);
	PG_RETURN_INT64(insert(fcinfo, event_type, job.run_as));
}
