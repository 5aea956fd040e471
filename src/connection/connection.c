/*
 * connection/connection.c
 *		From a foreign server and a user mapping to a connection that requests can use.
 *
 * The checks are those of postgres_fdw: the caller needs USAGE on the server, and a user mapping of
 * its own or of PUBLIC, which holds the API key where nobody else can read it.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_user_mapping.h"
#include "commands/defrem.h"
#include "foreign/foreign.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "connection/connection.h"
#include "connection/options.h"

#define DEFAULT_TIMEOUT_MS 30000
#define DEFAULT_CONNECT_TIMEOUT_MS 10000
#define DEFAULT_MAX_WAIT_MS 600000
#define DEFAULT_MAX_RETRIES 4
#define DEFAULT_FETCH_CONCURRENCY 8
#define DEFAULT_RATE_LIMIT "60/60s, 10/1s"

static char *default_connection = NULL; /* smartlead.connection */

void
sl_connection_define_settings(void)
{
	DefineCustomStringVariable(
		"smartlead.connection", "The connection that calls use which don't name one.",
		"The name of a server of the foreign data wrapper smartlead. If empty, "
		"the only server that the caller may use.",
		&default_connection, "", PGC_USERSET, 0, NULL, NULL, NULL);
}

static bool
has_mapping(Oid server, Oid user)
{
	return SearchSysCacheExists2(USERMAPPINGUSERSERVER, ObjectIdGetDatum(user),
								 ObjectIdGetDatum(server)) ||
		   SearchSysCacheExists2(USERMAPPINGUSERSERVER, ObjectIdGetDatum(InvalidOid),
								 ObjectIdGetDatum(server));
}

/* The servers of our wrapper on which the user has USAGE, as a list of Oids. */
static List *
usable_servers(Oid user)
{
	Oid			wrapper = get_foreign_data_wrapper_oid(SL_FDW, true);
	Relation	servers = table_open(ForeignServerRelationId, AccessShareLock);
	SysScanDesc scan = systable_beginscan(servers, InvalidOid, false, NULL, 0, NULL);
	HeapTuple	tuple;
	List	   *usable = NIL;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_foreign_server server = (Form_pg_foreign_server) GETSTRUCT(tuple);

		if (server->srvfdw == wrapper && sl_server_aclcheck(server->oid, user) == ACLCHECK_OK)
			usable = lappend_oid(usable, server->oid);
	}
	systable_endscan(scan);
	table_close(servers, AccessShareLock);
	return usable;
}

pg_noreturn static void
raise_no_single_connection(List *servers)
{
	StringInfoData names;
	ListCell	  *cell;

	if (servers == NIL)
		ereport(
			ERROR,
			(errcode(ERRCODE_CONNECTION_DOES_NOT_EXIST),
			 errmsg("there is no Smartlead connection that you may use"),
			 errhint("Create one with CREATE SERVER ... FOREIGN DATA WRAPPER smartlead and "
					 "CREATE USER MAPPING ... OPTIONS (api_key ...), or ask for USAGE on one.")));

	initStringInfo(&names);
	foreach (cell, servers)
		appendStringInfo(&names, "%s%s", names.len > 0 ? ", " : "",
						 quote_identifier(GetForeignServer(lfirst_oid(cell))->servername));
	ereport(ERROR, (errcode(ERRCODE_AMBIGUOUS_PARAMETER),
					errmsg("it is not clear which Smartlead connection to use"),
					errdetail("You may use: %s.", names.data),
					errhint("Name one in the argument \"connection\" or in the setting "
							"smartlead.connection.")));
}

/* The server to use when nobody named one. */
static ForeignServer *
only_server(Oid user)
{
	List	 *usable = usable_servers(user);
	List	 *mapped = NIL;
	ListCell *cell;

	foreach (cell, usable)
		if (has_mapping(lfirst_oid(cell), user))
			mapped = lappend_oid(mapped, lfirst_oid(cell));

	if (list_length(mapped) == 1)
		return GetForeignServer(linitial_oid(mapped));
	/* With one server and no mapping, the missing mapping is what to complain of. */
	if (mapped == NIL && list_length(usable) == 1)
		return GetForeignServer(linitial_oid(usable));
	raise_no_single_connection(mapped != NIL ? mapped : usable);
}

static ForeignServer *
named_server(const char *name)
{
	ForeignServer *server = GetForeignServerByName(name, true);

	if (server == NULL)
		ereport(ERROR, (errcode(ERRCODE_CONNECTION_DOES_NOT_EXIST),
						errmsg("there is no Smartlead connection \"%s\"", name),
						errhint("Create it with CREATE SERVER %s FOREIGN DATA WRAPPER smartlead.",
								quote_identifier(name))));
	if (server->fdwid != get_foreign_data_wrapper_oid(SL_FDW, true))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("server \"%s\" is not a Smartlead connection", name),
				 errdetail("It does not belong to the foreign data wrapper \"%s\".", SL_FDW)));
	return server;
}

static void
apply_mapping(SlConnection *connection)
{
	if (!has_mapping(connection->server, connection->user))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
						errmsg("role \"%s\" has no API key for connection \"%s\"",
							   GetUserNameFromId(connection->user, false), connection->name),
						errhint("Give it one: CREATE USER MAPPING FOR %s SERVER %s OPTIONS "
								"(api_key ...).",
								quote_identifier(GetUserNameFromId(connection->user, false)),
								quote_identifier(connection->name))));
	sl_options_apply(connection, GetUserMapping(connection->user, connection->server)->options);
	if (connection->api_key == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_OPTION_NAME_NOT_FOUND),
				 errmsg("the user mapping for connection \"%s\" has no API key", connection->name),
				 errhint("Add it: ALTER USER MAPPING ... SERVER %s OPTIONS (ADD api_key ...).",
						 quote_identifier(connection->name))));
}

SlConnection *
sl_connection_resolve(const char *name, Oid user)
{
	SlConnection  *connection = palloc0(sizeof(SlConnection));
	ForeignServer *server;
	const char	  *unused;

	if (name == NULL && default_connection != NULL && default_connection[0] != '\0')
		name = default_connection;
	server = name != NULL ? named_server(name) : only_server(user);
	if (sl_server_aclcheck(server->serverid, user) != ACLCHECK_OK)
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_FOREIGN_SERVER, server->servername);

	connection->server = server->serverid;
	connection->user = user;
	connection->name = pstrdup(server->servername);
	connection->base_url = SL_DEFAULT_BASE_URL;
	connection->timeout_ms = DEFAULT_TIMEOUT_MS;
	connection->connect_timeout_ms = DEFAULT_CONNECT_TIMEOUT_MS;
	connection->max_wait_ms = DEFAULT_MAX_WAIT_MS;
	connection->max_retries = DEFAULT_MAX_RETRIES;
	connection->fetch_concurrency = DEFAULT_FETCH_CONCURRENCY;
	sl_rate_parse(DEFAULT_RATE_LIMIT, &connection->rate_limit, &unused);
	sl_options_apply(connection, server->options);
	apply_mapping(connection);
	if (!sl_sha256(connection->api_key, strlen(connection->api_key), connection->key_hash))
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	return connection;
}

bool
sl_connection_is_usable(const char *name, Oid user)
{
	ForeignServer *server;

	if (superuser_arg(user))
		return true;
	server = strlen(name) < NAMEDATALEN ? GetForeignServerByName(name, true) : NULL;
	return server != NULL && server->fdwid == get_foreign_data_wrapper_oid(SL_FDW, true) &&
		   sl_server_aclcheck(server->serverid, user) == ACLCHECK_OK;
}
