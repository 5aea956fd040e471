/*
 * compat.c
 *		Functions whose insides differ between versions of PostgreSQL (13 to 18) and of libraries.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include <openssl/evp.h>

#include "utils/datetime.h"
#include "utils/timestamp.h"

#if PG_VERSION_NUM < 160000
#include "utils/tuplestore.h"
#endif
#if PG_VERSION_NUM >= 150000
#include "common/pg_prng.h"
#endif

#include "compat.h"

double
sl_random_fraction(void)
{
#if PG_VERSION_NUM >= 150000
	return pg_prng_double(&pg_global_prng_state);
#else
	return (double) random() / ((double) MAX_RANDOM_VALUE + 1);
#endif
}

#define DATE_LENGTH 10 /* 2026-03-03 */

/* As DecodeDateTime() does; with a NULL zone, a text that names one is refused. */
static bool
decode_timestamp(const char *text, struct pg_tm *tm, fsec_t *fsec, int *zone)
{
	char  buffer[MAXDATELEN + MAXDATEFIELDS];
	char *field[MAXDATEFIELDS];
	int	  type[MAXDATEFIELDS];
	int	  n_fields, kind;

	if (ParseDateTime(text, buffer, sizeof(buffer), field, type, MAXDATEFIELDS, &n_fields) != 0)
		return false;
#if PG_VERSION_NUM >= 160000
	{
		DateTimeErrorExtra extra;

		if (DecodeDateTime(field, type, n_fields, &kind, tm, fsec, zone, &extra) != 0)
			return false;
	}
#else
	if (DecodeDateTime(field, type, n_fields, &kind, tm, fsec, zone) != 0)
		return false;
#endif
	return kind == DTK_DATE;
}

/*
 * The steps of timestamptz_in, which would throw and would take "now" and "infinity" as well,
 * and read a time without a zone in the session's.
 */
bool
sl_parse_timestamptz(const char *text, TimestampTz *result)
{
	struct pg_tm tm;
	fsec_t		 fsec;
	int			 zone = 0;
	bool		 is_local;

	if (strlen(text) > MAXDATELEN || text[0] < '0' || text[0] > '9')
		return false;
	/* After the date, these belong to a zone: no need to try without. */
	is_local = strlen(text) <= DATE_LENGTH || strpbrk(text + DATE_LENGTH, "Zz+-") == NULL;
	if (!(is_local && decode_timestamp(text, &tm, &fsec, NULL)) &&
		!decode_timestamp(text, &tm, &fsec, &zone))
		return false;
	return tm2timestamp(&tm, fsec, &zone, result) == 0;
}

bool
sl_sha256(const void *data, size_t length, uint8 *hash)
{
#if OPENSSL_VERSION_NUMBER >= 0x30000000L
	static EVP_MD *algorithm = NULL;

	if (algorithm == NULL)
		algorithm = EVP_MD_fetch(NULL, "SHA256", NULL);
#else
	const EVP_MD *algorithm = EVP_sha256();
#endif
	return algorithm != NULL && EVP_Digest(data, length, hash, NULL, algorithm, NULL) == 1;
}

#if PG_VERSION_NUM < 160000
void
sl_init_materialized_srf(FunctionCallInfo fcinfo)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	MemoryContext  caller;
	TupleDesc	   descriptor;

	if (result == NULL || !IsA(result, ReturnSetInfo) || !(result->allowedModes & SFRM_Materialize))
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("set-valued function called in context that cannot accept a set")));
	caller = MemoryContextSwitchTo(result->econtext->ecxt_per_query_memory);
	if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	result->returnMode = SFRM_Materialize;
	result->setResult = tuplestore_begin_heap(true, false, work_mem);
	result->setDesc = BlessTupleDesc(descriptor);
	MemoryContextSwitchTo(caller);
}
#endif
