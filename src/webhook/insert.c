/*
 * webhook/insert.c
 *		Rows into smartlead_events: each event once, as the role whose events they are, and announced.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "access/xact.h"
#include "commands/async.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/lsyscache.h"

#include "webhook/webhook.h"

#define CHANNEL "smartlead_events"

/* A notification must have less than 8000 bytes. */
#define MAX_NOTIFIED_TEXT 1000

#define COLUMNS                                                                                    \
	"received_at, connection, webhook, request_id, fingerprint, event_type, kind, event_at,"       \
	" campaign_id, campaign_name, client_id, lead_id, lead_map_id, lead_email, lead_name,"         \
	" from_email, to_email, sequence_number, subject, message_id, stats_id, link, category,"       \
	" category_id, reply_text, payload"

static SPIPlanPtr plan = NULL;
static Oid		  relation = InvalidOid;

Oid
sl_events_relation(void)
{
	if (!OidIsValid(relation))
		relation = sl_extension_relation("smartlead_events");
	return relation;
}

void
sl_event_plans_forget(void)
{
	relation = InvalidOid;
	if (plan != NULL)
		SPI_freeplan(plan);
	plan = NULL;
}

static char *
schema_name(void)
{
	Oid schema = sl_extension_schema();

	if (!OidIsValid(schema))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_RESOURCES), errmsg("extension smartlead is gone")));
	return pstrdup(quote_identifier(get_namespace_name(schema)));
}

char *
sl_events_name(void)
{
	return psprintf("%s.smartlead_events", schema_name());
}

/*
 * A receiver has only the fingerprint looked up before a row is inserted: looking into each unique
 * index costs a third of an insertion. A request's id that is known although the fingerprint isn't is
 * rare; it makes an error, which the receiver takes for what it is.
 */
static void
prepare(bool limited)
{
	const char *schema = schema_name();

	if (plan != NULL)
		return;
	plan = SPI_prepare(psprintf("INSERT INTO %s.smartlead_events (" COLUMNS ") SELECT " COLUMNS
								" FROM %s.smartlead_arriving_events() ON CONFLICT %s DO NOTHING"
								" RETURNING id, kind, campaign_id, lead_id, lead_email",
								schema, schema, limited ? "(fingerprint)" : ""),
					   0, NULL);
	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	SPI_keepplan(plan);
}

bool
sl_is_known_request(const ErrorData *error)
{
	return error->sqlerrcode == ERRCODE_UNIQUE_VIOLATION && error->constraint_name != NULL &&
		   strcmp(error->constraint_name, "smartlead_events_request_id") == 0 &&
		   error->table_name != NULL && strcmp(error->table_name, "smartlead_events") == 0;
}

static void
append_text(StringInfo text, const char *name, const char *value)
{
	if (value == NULL || strlen(value) > MAX_NOTIFIED_TEXT)
		return;
	appendStringInfo(text, ",\"%s\":", name);
	escape_json(text, value);
}

static void
append_number(StringInfo text, const char *name, const char *value)
{
	if (value != NULL)
		appendStringInfo(text, ",\"%s\":%s", name, value);
}

/* Tells listeners of the new rows, with the commit. */
static void
announce(SPITupleTable *rows, uint64 n)
{
	StringInfoData text;
	TupleDesc	   descriptor = rows->tupdesc;

	initStringInfo(&text);
	for (uint64 i = 0; i < n; i++)
	{
		HeapTuple row = rows->vals[i];

		resetStringInfo(&text);
		appendStringInfo(&text, "{\"id\":%s", SPI_getvalue(row, descriptor, 1));
		append_text(&text, "type", SPI_getvalue(row, descriptor, 2));
		append_number(&text, "campaign_id", SPI_getvalue(row, descriptor, 3));
		append_number(&text, "lead_id", SPI_getvalue(row, descriptor, 4));
		append_text(&text, "lead_email", SPI_getvalue(row, descriptor, 5));
		appendStringInfoChar(&text, '}');
		Async_Notify(CHANNEL, text.data);
	}
	pfree(text.data);
}

static void
run(SlEventRow *rows, int n, Oid role)
{
	SlUserContext self;

	sl_rows_offer(rows, n);
	sl_become_user(role, &self);
	set_config_option("search_path", sl_trigger_search_path, PGC_USERSET, PGC_S_SESSION,
					  GUC_ACTION_SAVE, true, 0, false);
	if (SPI_execute_plan(plan, NULL, NULL, false, 0) != SPI_OK_INSERT_RETURNING)
		elog(ERROR, "could not insert events");
	sl_become_oneself(&self);
}

int
sl_events_insert(SlEventRow *rows, int n, Oid role, bool limited, int64 *id)
{
	bool is_null;
	int	 n_new;

	prepare(limited);
	if (limited)
		sl_limit_start(n == 1 ? rows[0].fingerprint : NULL);
	if (limited && n == 1 && sl_limit_was_broken_by(rows[0].fingerprint))
		ereport(ERROR, (errcode(ERRCODE_QUERY_CANCELED),
						errmsg("a trigger could not be canceled after smartlead.trigger_timeout"),
						errdetail("The receiver had to be ended because of it.")));
	run(rows, n, role);
	if (limited)
		sl_limit_stop();
	n_new = (int) SPI_processed;
	if (n_new > 0 && id != NULL)
		*id =
			DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &is_null));
	if (n_new > 0 && sl_notify_events)
		announce(SPI_tuptable, n_new);
	SPI_freetuptable(SPI_tuptable);
	return n_new;
}
