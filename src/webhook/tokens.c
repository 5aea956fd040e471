/*
 * webhook/tokens.c
 *		The tokens in webhooks' addresses: made, hashed, and the valid ones kept at hand.
 *
 * Tables hold the SHA-256 of a token alone. A receiver keeps the valid ones in a hash table, by
 * that hash: how long a look-up takes tells nothing about a token, since nobody can choose its
 * SHA-256. A change of the tables' content reaches each receiver before its next request is read
 * (worker/content.c).
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "access/xact.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "watch/relations.h"
#include "webhook/webhook.h"

static MemoryContext context = NULL;
static HTAB			*tokens = NULL;
static bool			 stale = true;
static bool			 locked = false; /* by somebody, when they were to be read */
static Oid			 token_relation = InvalidOid;
static Oid			 webhook_relation = InvalidOid;

bool
sl_token_hash(const char *text, size_t length, uint8 *hash)
{
	return sl_sha256(text, length, hash);
}

/* Compares in a time that doesn't depend on where the difference is. */
bool
sl_same_bytes(const void *a, const void *b, size_t length)
{
	const volatile uint8 *left = a, *right = b;
	uint8				  difference = 0;

	for (size_t i = 0; i < length; i++)
		difference |= left[i] ^ right[i];
	return difference == 0;
}

/* A new token: 256 random bits as base64url, and its hash. */
void
sl_token_make(char *text, uint8 *hash)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	uint8			  bytes[SL_TOKEN_BYTES + 1] = {0};

	if (!pg_strong_random(bytes, SL_TOKEN_BYTES))
		ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR),
						errmsg("could not generate a random token for a webhook")));
	for (int i = 0; i < SL_TOKEN_LENGTH; i++)
	{
		int bit = i * 6;
		int pair = bytes[bit / 8] << 8 | bytes[bit / 8 + 1];

		text[i] = digits[(pair >> (10 - bit % 8)) & 0x3f];
	}
	text[SL_TOKEN_LENGTH] = '\0';
	if (!sl_token_hash(text, SL_TOKEN_LENGTH, hash))
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
}

static void
relation_changed(Oid relation)
{
	if (!OidIsValid(relation) || relation == token_relation || relation == webhook_relation)
		stale = true;
}

static void
prepare_table(void)
{
	HASHCTL control = {.keysize = SL_HASH_LENGTH, .entrysize = sizeof(SlToken)};

	if (context == NULL)
	{
		context = AllocSetContextCreate(TopMemoryContext, "smartlead tokens", ALLOCSET_SMALL_SIZES);
		sl_watch_relations(relation_changed);
	}
	else
		MemoryContextReset(context);
	control.hcxt = context;
	tokens = hash_create("smartlead tokens", 64, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

static char *
column_text(HeapTuple row, int column)
{
	char *text = SPI_getvalue(row, SPI_tuptable->tupdesc, column);

	return text == NULL ? NULL : MemoryContextStrdup(context, text);
}

static void
keep_row(HeapTuple row)
{
	TupleDesc descriptor = SPI_tuptable->tupdesc;
	bool	  is_null;
	Datum	  hash = SPI_getbinval(row, descriptor, 1, &is_null);
	bytea	 *bytes = DatumGetByteaPP(hash);
	SlToken	 *token;

	if (VARSIZE_ANY_EXHDR(bytes) != SL_HASH_LENGTH)
		return;
	token = hash_search(tokens, VARDATA_ANY(bytes), HASH_ENTER, NULL);
	token->webhook = DatumGetInt64(SPI_getbinval(row, descriptor, 2, &is_null));
	token->subscriber = DatumGetObjectId(SPI_getbinval(row, descriptor, 3, &is_null));
	token->expires_at = DatumGetTimestampTz(SPI_getbinval(row, descriptor, 4, &is_null));
	if (is_null)
		token->expires_at = DT_NOEND;
	token->connection = column_text(row, 5);
	token->secret_key = column_text(row, 6);
	token->signing_secret = column_text(row, 7);
	token->signature_required =
		DatumGetBool(SPI_getbinval(row, descriptor, 8, &is_null)) && !is_null;
}

static void
load(Oid schema)
{
	StringInfoData query;
	const char	  *name = quote_identifier(get_namespace_name(schema));

	prepare_table();
	SPI_connect();
	initStringInfo(&query);
	appendStringInfo(&query,
					 "SELECT t.token_hash, w.id, w.subscriber::pg_catalog.oid, t.expires_at,"
					 " w.connection, w.secret_key, w.signing_secret, w.signature_required"
					 " FROM %s.smartlead_webhook_tokens t"
					 " JOIN %s.smartlead_webhooks w ON w.id = t.webhook"
					 " WHERE t.expires_at IS NULL OR t.expires_at > pg_catalog.now()",
					 name, name);
	if (SPI_execute(query.data, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the tokens");
	for (uint64 i = 0; i < SPI_processed; i++)
		keep_row(SPI_tuptable->vals[i]);
	SPI_finish();
}

/*
 * Whoever holds a lock on them for long must not hold up the receiver. Until they can be read, nobody
 * knows which tokens are valid.
 */
static bool
lock_tables(void)
{
	return ConditionalLockRelationOid(token_relation, AccessShareLock) &&
		   ConditionalLockRelationOid(webhook_relation, AccessShareLock);
}

static Oid
relation_in(Oid schema, const char *name)
{
	return OidIsValid(schema) ? get_relname_relid(name, schema) : InvalidOid;
}

bool
sl_tokens_refresh(void)
{
	Oid schema = InvalidOid;

	/* Beginning a transaction takes in what other sessions have told. */
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	if (stale)
	{
		stale = false;
		schema = sl_extension_schema();
		token_relation = relation_in(schema, "smartlead_webhook_tokens");
		webhook_relation = relation_in(schema, "smartlead_webhooks");
		locked = OidIsValid(token_relation) && OidIsValid(webhook_relation) && !lock_tables();
		if (locked)
			stale = true;
		else if (OidIsValid(token_relation))
		{
			PushActiveSnapshot(GetTransactionSnapshot());
			PG_TRY();
			{
				load(schema);
			}
			PG_CATCH();
			{
				stale = true;
				PG_RE_THROW();
			}
			PG_END_TRY();
			PopActiveSnapshot();
		}
	}
	CommitTransactionCommand();
	return OidIsValid(token_relation);
}

bool
sl_tokens_known(void)
{
	return !locked;
}

const SlToken *
sl_token_find(const uint8 *hash, TimestampTz now)
{
	const SlToken *token = tokens == NULL ? NULL : hash_search(tokens, hash, HASH_FIND, NULL);

	return token != NULL && token->expires_at > now ? token : NULL;
}
