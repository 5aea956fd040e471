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
#include "catalog/pg_database.h"
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
		"The name of a server of the foreign data wrapper smartlead. If empty, the only server "
		"on which the caller has a user mapping of its own, or else the only one that it may use.",
		&default_connection, "", PGC_USERSET, 0, NULL, NULL, NULL);
}

/* InvalidOid for the user means PUBLIC's. */
static bool
has_mapping_of(Oid server, Oid user)
{
	return SearchSysCacheExists2(USERMAPPINGUSERSERVER, ObjectIdGetDatum(user),
								 ObjectIdGetDatum(server));
}

static bool
has_mapping(Oid server, Oid user)
{
	return has_mapping_of(server, user) || has_mapping_of(server, InvalidOid);
}

static Oid
database_owner(void)
{
	HeapTuple tuple = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(MyDatabaseId));
	Oid		  owner = InvalidOid;

	if (HeapTupleIsValid(tuple))
	{
		owner = ((Form_pg_database) GETSTRUCT(tuple))->datdba;
		ReleaseSysCache(tuple);
	}
	return owner;
}

/*
 * May a server of this owner be used by somebody who didn't name it? Whoever has USAGE on the wrapper
 * can make a server with mappings for everybody, and would get what others send.
 */
static bool
may_offer_default(Oid owner, Oid wrapper, Oid user)
{
	return superuser_arg(owner) || is_member_of_role_nosuper(user, owner) ||
		   owner == GetForeignDataWrapper(wrapper)->owner || owner == database_owner();
}

/*
 * The servers of our wrapper that may be the default, or the others, as a list of Oids: those on which
 * the user has USAGE, or those on which it hasn't.
 */
static List *
list_servers(Oid user, bool for_default, bool usable)
{
	Oid			wrapper = get_foreign_data_wrapper_oid(SL_FDW, true);
	Relation	servers = table_open(ForeignServerRelationId, AccessShareLock);
	SysScanDesc scan = systable_beginscan(servers, InvalidOid, false, NULL, 0, NULL);
	HeapTuple	tuple;
	List	   *found = NIL;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_foreign_server server = (Form_pg_foreign_server) GETSTRUCT(tuple);

		if (server->srvfdw == wrapper &&
			(sl_server_aclcheck(server->oid, user) == ACLCHECK_OK) == usable &&
			may_offer_default(server->srvowner, wrapper, user) == for_default)
			found = lappend_oid(found, server->oid);
	}
	systable_endscan(scan);
	table_close(servers, AccessShareLock);
	return found;
}

/* Those of the servers on which the user has a mapping of its own. */
static List *
with_own_mapping(List *servers, Oid user)
{
	List	 *own = NIL;
	ListCell *cell;

	foreach (cell, servers)
		if (has_mapping_of(lfirst_oid(cell), user))
			own = lappend_oid(own, lfirst_oid(cell));
	return own;
}

/* "a, b, c" */
static char *
names_of(List *servers)
{
	StringInfoData names;
	ListCell	  *cell;

	initStringInfo(&names);
	foreach (cell, servers)
		appendStringInfo(&names, "%s%s", names.len > 0 ? ", " : "",
						 quote_identifier(GetForeignServer(lfirst_oid(cell))->servername));
	return names.data;
}

pg_noreturn static void
raise_no_default_connection(Oid user)
{
	List *others = list_servers(user, false, true);

	if (others == NIL)
		ereport(
			ERROR,
			(errcode(ERRCODE_CONNECTION_DOES_NOT_EXIST),
			 errmsg("there is no Smartlead connection that you may use"),
			 errhint("Create one with CREATE SERVER ... FOREIGN DATA WRAPPER smartlead and "
					 "CREATE USER MAPPING ... OPTIONS (api_key ...), or ask for USAGE on one.")));
	ereport(ERROR, (errcode(ERRCODE_CONNECTION_DOES_NOT_EXIST),
					errmsg("there is no Smartlead connection to use by default"),
					errdetail("Other roles' connections must be named. You may use: %s.",
							  names_of(others)),
					errhint("Name one in the argument \"connection\" or in the setting "
							"smartlead.connection.")));
}

pg_noreturn static void
raise_no_single_connection(List *servers)
{
	ereport(ERROR, (errcode(ERRCODE_AMBIGUOUS_PARAMETER),
					errmsg("it is not clear which Smartlead connection to use"),
					errdetail("You may use: %s.", names_of(servers)),
					errhint("Name one in the argument \"connection\" or in the setting "
							"smartlead.connection.")));
}

/*
 * The server to use when nobody named one: that of the user's own mapping. Without one, a server with
 * PUBLIC's is taken only if there is no other: else whoever has lost a mapping, or not got one yet,
 * would silently send elsewhere.
 */
static ForeignServer *
default_server(Oid user)
{
	List *usable = list_servers(user, true, true);
	List *own = with_own_mapping(usable, user);
	List *lost = own == NIL ? with_own_mapping(list_servers(user, true, false), user) : NIL;

	if (list_length(own) == 1)
		return GetForeignServer(linitial_oid(own));
	/* That it may not use it any more is what to complain of. */
	if (lost != NIL)
		return GetForeignServer(linitial_oid(lost));
	if (usable == NIL)
		raise_no_default_connection(user);
	/* With one server and no mapping at all, the missing mapping is. */
	if (own == NIL && list_length(usable) == 1)
		return GetForeignServer(linitial_oid(usable));
	raise_no_single_connection(own != NIL ? own : usable);
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

const char *
sl_connection_url_option(SlHost host)
{
	static const char *const names[] = {
		[SL_CORE] = "base_url",
		[SL_SMART_DELIVERY] = "smart_delivery_url",
		[SL_SMART_SENDERS] = "smart_senders_url",
		[SL_SMART_PROSPECT] = "smart_prospect_url",
		[SL_SMART_SERVERS] = "smart_servers_url",
	};

	return names[host];
}

/*
 * Where the other services are. A server whose API is elsewhere than Smartlead's own is something
 * else, a proxy or an imitation: its key goes to no address that nobody gave.
 */
static void
default_urls(SlConnection *connection)
{
	static const char *const defaults[] = {
		[SL_SMART_DELIVERY] = "https://smartdelivery.smartlead.ai/api/v1",
		[SL_SMART_SENDERS] = "https://smart-senders.smartlead.ai/api/v1",
		[SL_SMART_PROSPECT] = "https://prospect-api.smartlead.ai/api/v1/search-email-leads",
		[SL_SMART_SERVERS] = "https://smartservers.smartlead.ai/api/v1",
	};

	if (strcmp(connection->url[SL_CORE], SL_DEFAULT_BASE_URL) != 0)
		return;
	for (int host = SL_CORE + 1; host < SL_N_HOSTS; host++)
		if (connection->url[host] == NULL)
			connection->url[host] = pstrdup(defaults[host]);
}

SlConnection *
sl_connection_resolve(const char *name, Oid user)
{
	SlConnection  *connection = palloc0(sizeof(SlConnection));
	ForeignServer *server;
	const char	  *unused;

	if (name == NULL && default_connection != NULL && default_connection[0] != '\0')
		name = default_connection;
	server = name != NULL ? named_server(name) : default_server(user);
	if (sl_server_aclcheck(server->serverid, user) != ACLCHECK_OK)
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_FOREIGN_SERVER, server->servername);

	connection->server = server->serverid;
	connection->user = user;
	connection->name = pstrdup(server->servername);
	connection->url[SL_CORE] = SL_DEFAULT_BASE_URL;
	connection->timeout_ms = DEFAULT_TIMEOUT_MS;
	connection->connect_timeout_ms = DEFAULT_CONNECT_TIMEOUT_MS;
	connection->max_wait_ms = DEFAULT_MAX_WAIT_MS;
	connection->max_retries = DEFAULT_MAX_RETRIES;
	connection->fetch_concurrency = DEFAULT_FETCH_CONCURRENCY;
	sl_rate_parse(DEFAULT_RATE_LIMIT, &connection->rate_limit, &unused);
	sl_options_apply(connection, server->options);
	default_urls(connection);
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
