/*
 * connection/options.c
 *		The options of servers and user mappings: their names, their checks, their values.
 *
 * One table says what there is. The validator of the foreign data wrapper refuses everything else
 * when it is set, so that a call never meets a value it can't read.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "access/reloptions.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_user_mapping.h"
#include "commands/defrem.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"

#include <curl/curl.h>

#include "connection/options.h"

PG_FUNCTION_INFO_V1(smartlead_fdw_validator);

/* Reads a value into the connection; false, with *why set to a sentence, when it can't be read. */
typedef bool (*OptionReader)(const char *value, SlConnection *connection, const char **why);

typedef struct Option
{
	const char	*name;
	Oid			 catalog; /* where it may be set */
	OptionReader read;
} Option;

static bool read_base_url(const char *value, SlConnection *connection, const char **why);
static bool read_delivery_url(const char *value, SlConnection *connection, const char **why);
static bool read_senders_url(const char *value, SlConnection *connection, const char **why);
static bool read_prospect_url(const char *value, SlConnection *connection, const char **why);
static bool read_servers_url(const char *value, SlConnection *connection, const char **why);
static bool read_timeout(const char *value, SlConnection *connection, const char **why);
static bool read_connect_timeout(const char *value, SlConnection *connection, const char **why);
static bool read_max_wait(const char *value, SlConnection *connection, const char **why);
static bool read_max_retries(const char *value, SlConnection *connection, const char **why);
static bool read_rate_limit(const char *value, SlConnection *connection, const char **why);
static bool read_fetch_concurrency(const char *value, SlConnection *connection, const char **why);
static bool read_ca_file(const char *value, SlConnection *connection, const char **why);
static bool read_api_key(const char *value, SlConnection *connection, const char **why);

static const Option options_table[] = {
	{"base_url", ForeignServerRelationId, read_base_url},
	{"timeout", ForeignServerRelationId, read_timeout},
	{"connect_timeout", ForeignServerRelationId, read_connect_timeout},
	{"max_retries", ForeignServerRelationId, read_max_retries},
	{"max_wait", ForeignServerRelationId, read_max_wait},
	{"rate_limit", ForeignServerRelationId, read_rate_limit},
	{"fetch_concurrency", ForeignServerRelationId, read_fetch_concurrency},
	{"ca_file", ForeignServerRelationId, read_ca_file},
	{"smart_delivery_url", ForeignServerRelationId, read_delivery_url},
	{"smart_senders_url", ForeignServerRelationId, read_senders_url},
	{"smart_prospect_url", ForeignServerRelationId, read_prospect_url},
	{"smart_servers_url", ForeignServerRelationId, read_servers_url},
	{"api_key", UserMappingRelationId, read_api_key},
};

static const Option *
find_option(const char *name, Oid catalog)
{
	for (int i = 0; i < lengthof(options_table); i++)
		if (options_table[i].catalog == catalog && strcmp(options_table[i].name, name) == 0)
			return &options_table[i];
	return NULL;
}

/* "a, b, c": what may be set in this catalog; empty when nothing may. */
static char *
valid_names(Oid catalog)
{
	StringInfoData names;

	initStringInfo(&names);
	for (int i = 0; i < lengthof(options_table); i++)
		if (options_table[i].catalog == catalog)
			appendStringInfo(&names, "%s%s", names.len > 0 ? ", " : "", options_table[i].name);
	return names.data;
}

pg_noreturn static void
refuse_unknown_option(const char *name, Oid catalog)
{
	char *names = valid_names(catalog);
	bool  misplaced_key = strcmp(name, "api_key") == 0;

	ereport(
		ERROR,
		(errcode(ERRCODE_FDW_INVALID_OPTION_NAME), errmsg("invalid option \"%s\"", name),
		 misplaced_key
			 ? errhint("The API key belongs in a user mapping, where other users can't read it: "
					   "CREATE USER MAPPING FOR CURRENT_USER SERVER ... OPTIONS (api_key ...).")
		 : names[0] != '\0' ? errhint("Valid options in this context are: %s.", names)
							: errhint("There are no valid options in this context.")));
}

/*
 * smartlead_fdw_validator(options text[], catalog oid) → void
 *
 * Checks the options of CREATE and ALTER SERVER and USER MAPPING. Raises fdw_invalid_option_name
 * or invalid_parameter_value; a refused API key is not repeated in the message.
 */
Datum
smartlead_fdw_validator(PG_FUNCTION_ARGS)
{
	List	 *options = untransformRelOptions(PG_GETARG_DATUM(0));
	Oid		  catalog = PG_GETARG_OID(1);
	ListCell *cell;

	foreach (cell, options)
	{
		DefElem		 *element = lfirst_node(DefElem, cell);
		const Option *option = find_option(element->defname, catalog);
		SlConnection  scratch = {0};
		const char	 *why = NULL;

		if (option == NULL)
			refuse_unknown_option(element->defname, catalog);
		if (!option->read(defGetString(element), &scratch, &why))
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("invalid value for option \"%s\"", option->name),
							errdetail_internal("%s", why)));
		if (option->read == read_ca_file &&
			!has_privs_of_role(GetUserId(), ROLE_PG_READ_SERVER_FILES))
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 errmsg("permission denied to set option \"ca_file\""),
					 errhint("Only roles with the privileges of pg_read_server_files may name "
							 "a file of the server.")));
	}
	PG_RETURN_VOID();
}

void
sl_options_apply(SlConnection *connection, List *options)
{
	ListCell *cell;

	foreach (cell, options)
	{
		DefElem	   *element = lfirst_node(DefElem, cell);
		const char *why = NULL;

		for (int i = 0; i < lengthof(options_table); i++)
			if (strcmp(options_table[i].name, element->defname) == 0 &&
				!options_table[i].read(defGetString(element), connection, &why))
				ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
								errmsg("invalid value for option \"%s\" of connection \"%s\"",
									   element->defname, connection->name),
								errdetail_internal("%s", why)));
	}
}

/* Is this host the machine itself, where nobody on the way can read the key? */
static bool
is_loopback(const char *host)
{
	unsigned int a, b, c, d;
	char		 rest;

	if (pg_strcasecmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0)
		return true;
	return sscanf(host, "%3u.%3u.%3u.%3u%c", &a, &b, &c, &d, &rest) == 4 && a == 127 && b < 256 &&
		   c < 256 && d < 256;
}

/*
 * What is wrong with the URL's characters, or NULL. What libcurl parses away is still in the text to
 * which paths and the key are appended: after a bare "#" they would be a fragment.
 */
static const char *
url_text_problem(const char *value)
{
	const char *scheme_end = strstr(value, "://");
	const char *host = scheme_end != NULL ? scheme_end + 3 : value;

	for (const char *c = value; *c != '\0'; c++)
		if (*c <= ' ' || *c > '~' || *c == '\\')
			return "The URL must hold visible ASCII characters only, and no backslash.";
	if (strpbrk(value, "?#") != NULL || memchr(host, '@', strcspn(host, "/")) != NULL)
		return "The URL must not hold a user, a password, a query or a fragment.";
	return NULL;
}

/* What is wrong with the URL's parts, or NULL. libcurl parses it, so that both see the same host. */
static const char *
url_parts_problem(CURLU *url, const char *value)
{
	char	   *scheme = NULL;
	char	   *host = NULL;
	const char *why = NULL;

	if (curl_url_set(url, CURLUPART_URL, value, 0) != CURLUE_OK ||
		curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK ||
		curl_url_get(url, CURLUPART_HOST, &host, 0) != CURLUE_OK)
		why = "It must be a complete URL, such as " SL_DEFAULT_BASE_URL ".";
	else if (strcmp(scheme, "https") != 0 && strcmp(scheme, "http") != 0)
		why = "The URL must begin with https://.";
	else if (strcmp(scheme, "http") == 0 && !is_loopback(host))
		why = "The API key travels in the URL of every request: plain http is allowed only to a "
			  "loopback address.";
	curl_free(scheme);
	curl_free(host);
	return why;
}

static const char *
url_problem(const char *value)
{
	const char *why = url_text_problem(value);
	CURLU	   *url = why == NULL ? curl_url() : NULL;

	if (why != NULL)
		return why;
	if (url == NULL)
		return "There is not enough memory to read it.";
	why = url_parts_problem(url, value);
	curl_url_cleanup(url);
	return why;
}

static bool
read_url(const char *value, char **url, const char **why)
{
	size_t length = strlen(value);

	*why = url_problem(value);
	if (*why != NULL)
		return false;
	while (length > 0 && value[length - 1] == '/')
		length--;
	*url = pnstrdup(value, length);
	return true;
}

static bool
read_base_url(const char *value, SlConnection *connection, const char **why)
{
	return read_url(value, &connection->url[SL_CORE], why);
}

static bool
read_delivery_url(const char *value, SlConnection *connection, const char **why)
{
	return read_url(value, &connection->url[SL_SMART_DELIVERY], why);
}

static bool
read_senders_url(const char *value, SlConnection *connection, const char **why)
{
	return read_url(value, &connection->url[SL_SMART_SENDERS], why);
}

static bool
read_prospect_url(const char *value, SlConnection *connection, const char **why)
{
	return read_url(value, &connection->url[SL_SMART_PROSPECT], why);
}

static bool
read_servers_url(const char *value, SlConnection *connection, const char **why)
{
	return read_url(value, &connection->url[SL_SMART_SERVERS], why);
}

static bool
read_milliseconds(const char *value, int *result, const char **why)
{
	if (parse_int(value, result, GUC_UNIT_MS, NULL) && *result >= 1 && *result <= 3600 * 1000)
		return true;
	*why = "It must be a time from 1ms to 1h; a number without a unit is taken as milliseconds.";
	return false;
}

static bool
read_timeout(const char *value, SlConnection *connection, const char **why)
{
	return read_milliseconds(value, &connection->timeout_ms, why);
}

static bool
read_connect_timeout(const char *value, SlConnection *connection, const char **why)
{
	return read_milliseconds(value, &connection->connect_timeout_ms, why);
}

static bool
read_max_wait(const char *value, SlConnection *connection, const char **why)
{
	if (parse_int(value, &connection->max_wait_ms, GUC_UNIT_MS, NULL) &&
		connection->max_wait_ms >= 0 && connection->max_wait_ms <= 3600 * 1000)
		return true;
	*why = "It must be a time from 0 to 1h; a number without a unit is taken as milliseconds.";
	return false;
}

static bool
read_max_retries(const char *value, SlConnection *connection, const char **why)
{
	if (parse_int(value, &connection->max_retries, 0, NULL) && connection->max_retries >= 0 &&
		connection->max_retries <= 20)
		return true;
	*why = "It must be a whole number from 0 to 20.";
	return false;
}

static bool
read_rate_limit(const char *value, SlConnection *connection, const char **why)
{
	return sl_rate_parse(value, &connection->rate_limit, why);
}

static bool
read_fetch_concurrency(const char *value, SlConnection *connection, const char **why)
{
	if (parse_int(value, &connection->fetch_concurrency, 0, NULL) &&
		connection->fetch_concurrency >= 1 && connection->fetch_concurrency <= 32)
		return true;
	*why = "It must be a whole number from 1 to 32.";
	return false;
}

static bool
read_ca_file(const char *value, SlConnection *connection, const char **why)
{
	*why = "It must be the absolute path of a file with certificates in PEM format.";
	if (!is_absolute_path(value))
		return false;
	connection->ca_file = pstrdup(value);
	return true;
}

/* Visible characters only: anything else is a copy-and-paste accident that Smartlead would refuse. */
static bool
read_api_key(const char *value, SlConnection *connection, const char **why)
{
	*why = "It must be the key from Smartlead's settings: 1 to 512 visible ASCII characters.";
	if (value[0] == '\0' || strlen(value) > 512)
		return false;
	for (const char *c = value; *c != '\0'; c++)
		if (*c <= ' ' || *c > '~')
			return false;
	connection->api_key = pstrdup(value);
	return true;
}
