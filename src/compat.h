/*
 * compat.h
 *		Every difference between the versions of PostgreSQL (13 to 18) and of libraries that we meet.
 *
 * Nothing outside this file looks at PG_VERSION_NUM.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#ifndef SL_COMPAT_H
#define SL_COMPAT_H

#include "datatype/timestamp.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/guc.h"
#include "utils/relcache.h"

#if PG_VERSION_NUM < 130000
#error "smartlead needs PostgreSQL 13 or newer"
#endif

/* 14: wait events have a header of their own. */
#if PG_VERSION_NUM >= 140000
#include "utils/wait_event.h"
#else
#include "pgstat.h"
#endif

/* 18: the module says its name and version. */
#if PG_VERSION_NUM >= 180000
#define SL_MODULE_MAGIC(n, v) PG_MODULE_MAGIC_EXT(.name = n, .version = v)
#else
#define SL_MODULE_MAGIC(n, v) PG_MODULE_MAGIC
#endif

/* 15: shared memory is asked for in a hook of its own; before, in _PG_init. */
#if PG_VERSION_NUM >= 150000
#define SL_HAVE_SHMEM_REQUEST_HOOK 1
#endif

/* 15: a prefix can be reserved, so that a misspelt setting is refused. */
#if PG_VERSION_NUM < 150000
#define MarkGUCPrefixReserved(prefix) EmitWarningsOnPlaceholders(prefix)
#endif

/* 17: a wait event set belongs to a resource owner (NULL: the session), before to a context. */
#if PG_VERSION_NUM >= 170000
#define sl_create_wait_event_set(n) CreateWaitEventSet(NULL, (n))
#else
#define sl_create_wait_event_set(n) CreateWaitEventSet(TopMemoryContext, (n))
#endif

/* 17: extensions can name their wait events. */
#if PG_VERSION_NUM >= 170000
#define sl_wait_event(name) WaitEventExtensionNew(name)
#else
#define sl_wait_event(name) PG_WAIT_EXTENSION
#endif

/* 18: what doesn't return says so before its declaration. */
#ifndef pg_noreturn
#define pg_noreturn pg_attribute_noreturn()
#endif

/* 16, and late releases of 15: one call sets up a materialized result; before, compat.c does. */
#if PG_VERSION_NUM >= 160000
#define sl_init_materialized_srf(fcinfo) InitMaterializedSRF((fcinfo), 0)
#else
extern void sl_init_materialized_srf(FunctionCallInfo fcinfo);
#endif

/* 14: the predefined roles got shorter names. */
#if PG_VERSION_NUM < 140000
#define ROLE_PG_READ_SERVER_FILES DEFAULT_ROLE_READ_SERVER_FILES
#endif

/* 16: one function checks the privileges on objects of all kinds. */
#if PG_VERSION_NUM >= 160000
#define sl_server_aclcheck(server, user)                                                           \
	object_aclcheck(ForeignServerRelationId, (server), (user), ACL_USAGE)
#else
#define sl_server_aclcheck(server, user) pg_foreign_server_aclcheck((server), (user), ACL_USAGE)
#endif

#if PG_VERSION_NUM >= 160000
#define sl_function_aclcheck(function, user)                                                       \
	object_aclcheck(ProcedureRelationId, (function), (user), ACL_EXECUTE)
#else
#define sl_function_aclcheck(function, user) pg_proc_aclcheck((function), (user), ACL_EXECUTE)
#endif

/* 14: a numeric is made of an integer without a detour. */
#if PG_VERSION_NUM >= 140000
#define sl_int64_numeric(i) int64_to_numeric(i)
#else
#define sl_int64_numeric(i) DatumGetNumeric(DirectFunctionCall1(int8_numeric, Int64GetDatum(i)))
#endif

/* A random number from 0 up to 1, for jitter alone (15: another generator). */
extern double sl_random_fraction(void);

/* Reads an ISO 8601 time, in UTC unless it says otherwise, without throwing (16: the decoder has one more argument). */
extern bool sl_parse_timestamptz(const char *text, TimestampTz *result);

/* 17: a time limit for whole transactions, to be switched off in workers. */
#if PG_VERSION_NUM >= 170000
#define sl_pin_version_settings(pin) (pin)("transaction_timeout", "0")
#else
#define sl_pin_version_settings(pin) ((void) (pin))
#endif

/* 17: a message in the log may be flushed at once, which a transactional one needs not. */
#if PG_VERSION_NUM >= 170000
#define sl_log_transactional_message(prefix) LogLogicalMessage((prefix), "", 0, true, false)
#else
#define sl_log_transactional_message(prefix) LogLogicalMessage((prefix), "", 0, true)
#endif

/*
 * OpenSSL 3 looks an algorithm up at each use of it by name, which takes longer than to hash
 * something short: here it is looked up once. False: there was no memory for it.
 */
extern bool sl_sha256(const void *data, size_t length, uint8 *hash);

/* libcurl 7.87: a name look-up under way need not be waited for; before, nothing can spare us that. */
#define SL_CURL_HAS_QUICK_EXIT (LIBCURL_VERSION_NUM >= 0x075700)

/* libcurl 7.80: tells exactly when a request goes out. */
#define SL_CURL_HAS_PREREQFUNCTION (LIBCURL_VERSION_NUM >= 0x075000)

/* libcurl 7.88: requests that wait for a connection to share are known to be woken in the end. */
#define SL_CURL_HAS_SAFE_PIPEWAIT (LIBCURL_VERSION_NUM >= 0x075800)

/* libcurl 7.85: protocols are named by text. */
#define SL_CURL_HAS_PROTOCOLS_STR (LIBCURL_VERSION_NUM >= 0x075500)

#endif /* SL_COMPAT_H */
