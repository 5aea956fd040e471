/*
 * webhook/functions.c
 *		The SQL functions about webhooks that don't ask Smartlead anything.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "executor/spi.h"
#include "utils/builtins.h"

#include "connection/connection.h"
#include "webhook/registry.h"
#include "webhook/webhook.h"

PG_FUNCTION_INFO_V1(smartlead_webhook_url);
PG_FUNCTION_INFO_V1(smartlead_revoke_webhook);
PG_FUNCTION_INFO_V1(smartlead_secure_webhook);

/* A result must outlive SPI's memory. */
static text *
text_result(const char *string, MemoryContext caller)
{
	MemoryContext spi = MemoryContextSwitchTo(caller);
	text		 *result = cstring_to_text(string);

	MemoryContextSwitchTo(spi);
	return result;
}

/*
 * smartlead_webhook_url(connection name) → text
 *
 * Raises what the choice of a connection raises.
 */
Datum
smartlead_webhook_url(PG_FUNCTION_ARGS)
{
	MemoryContext caller = CurrentMemoryContext;
	const char	 *name = PG_ARGISNULL(0) ? NULL : NameStr(*PG_GETARG_NAME(0));
	SlWebhook	  webhook = {.level = "by hand"};
	text		 *result;

	PreventCommandIfReadOnly("smartlead_webhook_url()");
	webhook.connection = sl_connection_resolve(name, GetUserId())->name;
	SPI_connect();
	sl_events_create();
	sl_registry_add(&webhook);
	result = text_result(sl_webhook_url(sl_registry_add_token(webhook.id, DT_NOEND)), caller);
	SPI_finish();
	PG_RETURN_TEXT_P(result);
}

/*
 * smartlead_revoke_webhook(webhook bigint) → boolean
 */
Datum
smartlead_revoke_webhook(PG_FUNCTION_ARGS)
{
	SlWebhook webhook;
	bool	  result;

	PreventCommandIfReadOnly("smartlead_revoke_webhook()");
	SPI_connect();
	sl_registry_get(PG_GETARG_INT64(0), &webhook);
	result = sl_registry_end(webhook.id);
	SPI_finish();
	PG_RETURN_BOOL(result);
}

/*
 * smartlead_secure_webhook(webhook bigint, secret_key text, signing_secret text,
 *							signature_required boolean) → boolean
 */
Datum
smartlead_secure_webhook(PG_FUNCTION_ARGS)
{
	SlWebhook webhook;

	PreventCommandIfReadOnly("smartlead_secure_webhook()");
	if (PG_ARGISNULL(0))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("argument \"webhook\" must not be null")));
	SPI_connect();
	sl_registry_get(PG_GETARG_INT64(0), &webhook);
	sl_registry_secure(webhook.id, PG_ARGISNULL(1) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(1)),
					   PG_ARGISNULL(2) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(2)),
					   !PG_ARGISNULL(2) && (PG_ARGISNULL(3) || PG_GETARG_BOOL(3)));
	SPI_finish();
	PG_RETURN_BOOL(true);
}
