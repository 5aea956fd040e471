/*
 * webhook/registry.c
 *		The webhooks and tokens of this database.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "webhook/registry.h"
#include "webhook/webhook.h"

#define MAX_VALUES 12

/* A statement's parameters under construction. */
typedef struct Statement
{
	const char *text; /* %s stands for the table's name */
	int			n;
	Oid			types[MAX_VALUES];
	Datum		values[MAX_VALUES];
	char		nulls[MAX_VALUES + 1];
} Statement;

static void
parameter(Statement *statement, Oid type, bool given, Datum value)
{
	statement->types[statement->n] = type;
	statement->values[statement->n] = value;
	statement->nulls[statement->n++] = given ? ' ' : 'n';
}

static void
number_parameter(Statement *statement, int64 number)
{
	parameter(statement, INT8OID, number != 0, Int64GetDatum(number));
}

static void
text_parameter(Statement *statement, const char *text)
{
	parameter(statement, TEXTOID, text != NULL,
			  text == NULL ? (Datum) 0 : CStringGetTextDatum(text));
}

/* Runs it with the rights of the table's owner. Returns the number of rows. */
static uint64
run(Statement *statement, const char *table, int expected)
{
	Oid			  relation = sl_extension_relation(table);
	SlUserContext caller;
	int			  result;

	if (!OidIsValid(relation))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("table \"%s\" of extension smartlead is missing", table)));
	sl_become_owner(relation, &caller);
	result = SPI_execute_with_args(
		psprintf(statement->text, quote_qualified_identifier(
									  get_namespace_name(get_rel_namespace(relation)), table)),
		statement->n, statement->types, statement->values, statement->nulls, false, 0);
	sl_become_oneself(&caller);
	if (result != expected)
		elog(ERROR, "unexpected result %d of a statement on \"%s\"", result, table);
	return SPI_processed;
}

static Datum
result_column(int column, bool *is_null)
{
	return SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, column, is_null);
}

void
sl_registry_add(SlWebhook *webhook)
{
	Statement insert = {"INSERT INTO %s (subscriber, connection, level, campaign_id, client_id,"
						" name, event_types, categories, filtered)"
						" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)"
						" RETURNING id"};
	bool	  is_null;

	webhook->subscriber = GetUserId();
	parameter(&insert, REGROLEOID, true, ObjectIdGetDatum(webhook->subscriber));
	text_parameter(&insert, webhook->connection);
	text_parameter(&insert, webhook->level);
	number_parameter(&insert, webhook->campaign_id);
	number_parameter(&insert, webhook->client_id);
	text_parameter(&insert, webhook->name);
	parameter(&insert, TEXTARRAYOID, webhook->event_types != (Datum) 0, webhook->event_types);
	parameter(&insert, TEXTARRAYOID, webhook->categories != (Datum) 0, webhook->categories);
	parameter(&insert, BOOLOID, true, BoolGetDatum(webhook->filtered));
	run(&insert, "smartlead_webhooks", SPI_OK_INSERT_RETURNING);
	webhook->id = DatumGetInt64(result_column(1, &is_null));
}

static char *
text_column(int column)
{
	return SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, column);
}

static int64
number_column(int column)
{
	bool  is_null;
	Datum value = result_column(column, &is_null);

	return is_null ? 0 : DatumGetInt64(value);
}

static Datum
array_column(int column)
{
	bool  is_null;
	Datum value = result_column(column, &is_null);

	return is_null ? (Datum) 0 : PointerGetDatum(PG_DETOAST_DATUM_COPY(value));
}

void
sl_registry_get(int64 id, SlWebhook *webhook)
{
	Statement select = {"SELECT subscriber, connection, level, campaign_id, client_id, name,"
						" event_types, categories, remote_id, ended_at IS NOT NULL"
						" FROM %s WHERE id OPERATOR(pg_catalog.=) $1 FOR UPDATE"};
	bool	  is_null;

	parameter(&select, INT8OID, true, Int64GetDatum(id));
	if (run(&select, "smartlead_webhooks", SPI_OK_SELECT) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_NO_DATA_FOUND), errmsg("there is no webhook " INT64_FORMAT, id),
				 errhint("See smartlead_webhooks.")));
	webhook->id = id;
	webhook->subscriber = DatumGetObjectId(result_column(1, &is_null));
	webhook->connection = text_column(2);
	webhook->level = text_column(3);
	webhook->campaign_id = number_column(4);
	webhook->client_id = number_column(5);
	webhook->name = text_column(6);
	webhook->event_types = array_column(7);
	webhook->categories = array_column(8);
	webhook->remote_id = number_column(9);
	webhook->ended = DatumGetBool(result_column(10, &is_null));
	if (!has_privs_of_role(GetUserId(), webhook->subscriber))
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("webhook " INT64_FORMAT " belongs to another role", id)));
}

Oid
sl_registry_subscriber(int64 id)
{
	Statement select = {"SELECT subscriber FROM %s WHERE id OPERATOR(pg_catalog.=) $1"};
	bool	  is_null;

	parameter(&select, INT8OID, true, Int64GetDatum(id));
	if (run(&select, "smartlead_webhooks", SPI_OK_SELECT) == 0)
		return InvalidOid;
	return DatumGetObjectId(result_column(1, &is_null));
}

void
sl_registry_set_remote_id(int64 id, int64 remote_id)
{
	Statement update = {"UPDATE %s SET remote_id = $2 WHERE id OPERATOR(pg_catalog.=) $1"};

	parameter(&update, INT8OID, true, Int64GetDatum(id));
	number_parameter(&update, remote_id);
	run(&update, "smartlead_webhooks", SPI_OK_UPDATE);
}

void
sl_registry_secure(int64 id, const char *secret_key, const char *signing_secret,
				   bool signature_required)
{
	Statement update = {"UPDATE %s SET secret_key = $2, signing_secret = $3,"
						" signature_required = $4 WHERE id OPERATOR(pg_catalog.=) $1"};

	parameter(&update, INT8OID, true, Int64GetDatum(id));
	text_parameter(&update, secret_key);
	text_parameter(&update, signing_secret);
	parameter(&update, BOOLOID, true, BoolGetDatum(signature_required));
	run(&update, "smartlead_webhooks", SPI_OK_UPDATE);
}

bool
sl_registry_end(int64 id)
{
	Statement delete = {"DELETE FROM %s WHERE webhook OPERATOR(pg_catalog.=) $1"};
	Statement update = {"UPDATE %s SET ended_at = pg_catalog.now()"
						" WHERE id OPERATOR(pg_catalog.=) $1 AND ended_at IS NULL"};

	parameter(&delete, INT8OID, true, Int64GetDatum(id));
	parameter(&update, INT8OID, true, Int64GetDatum(id));
	run(&delete, "smartlead_webhook_tokens", SPI_OK_DELETE);
	return run(&update, "smartlead_webhooks", SPI_OK_UPDATE) > 0;
}

char *
sl_registry_add_token(int64 webhook, TimestampTz others_expire)
{
	Statement update = {"UPDATE %s SET expires_at = $2"
						" WHERE webhook OPERATOR(pg_catalog.=) $1 AND (expires_at IS NULL OR "
						"expires_at OPERATOR(pg_catalog.>) $2)"};
	Statement insert = {"INSERT INTO %s (token_hash, webhook) VALUES ($1, $2)"};
	char	 *token = palloc(SL_TOKEN_LENGTH + 1);
	uint8	  hash[SL_HASH_LENGTH];

	sl_token_make(token, hash);
	parameter(&update, INT8OID, true, Int64GetDatum(webhook));
	parameter(&update, TIMESTAMPTZOID, true, TimestampTzGetDatum(others_expire));
	if (!TIMESTAMP_NOT_FINITE(others_expire))
		run(&update, "smartlead_webhook_tokens", SPI_OK_UPDATE);
	parameter(&insert, BYTEAOID, true,
			  PointerGetDatum(cstring_to_text_with_len((char *) hash, sizeof(hash))));
	parameter(&insert, INT8OID, true, Int64GetDatum(webhook));
	run(&insert, "smartlead_webhook_tokens", SPI_OK_INSERT);
	return token;
}

char *
sl_webhook_url(const char *token)
{
	size_t length = strlen(sl_public_url);
	bool   is_ipv6 = strchr(sl_listen_address, ':') != NULL;

	while (length > 0 && sl_public_url[length - 1] == '/')
		length--;
	if (length > 0)
		return psprintf("%.*s/smartlead/%s", (int) length, sl_public_url, token);
	return psprintf("%s://%s%s%s:%d/smartlead/%s",
					*sl_tls_certificate_file == '\0' ? "http" : "https", is_ipv6 ? "[" : "",
					strcmp(sl_listen_address, "*") == 0 ? "localhost" : sl_listen_address,
					is_ipv6 ? "]" : "", sl_port, token);
}
