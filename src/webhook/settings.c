/*
 * webhook/settings.c
 *		The settings of the receiver.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include <limits.h>

#include "webhook/webhook.h"

int	  sl_receivers;
char *sl_listen_address;
int	  sl_port;
char *sl_public_url;
char *sl_tls_certificate_file;
char *sl_tls_key_file;
int	  sl_trigger_timeout;
char *sl_trigger_search_path;
int	  sl_event_retention;
int	  sl_event_key_retention;
bool  sl_notify_events;
int	  sl_max_body_size;
int	  sl_max_header_size;
int	  sl_max_connections;
int	  sl_max_connections_per_address;
int	  sl_max_queue_size;
int	  sl_idle_timeout;
int	  sl_request_timeout;
int	  sl_max_batch;

static bool
check_public_url(char **value, void **extra, GucSource source)
{
	if (**value == '\0' || strncmp(*value, "https://", 8) == 0 ||
		strncmp(*value, "http://", 7) == 0)
		return true;
	GUC_check_errdetail("The URL must begin with https:// or http://.");
	return false;
}

/* Where the receiver listens. Of a database: ALTER DATABASE ... SET gives each a port of its own. */
static void
define_address_settings(void)
{
	DefineCustomIntVariable(
		"smartlead.receivers", "Receivers of webhooks in each database.",
		"More than one share the port, for more events per second than one processor can take.",
		&sl_receivers, 1, 0, 16, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomStringVariable(
		"smartlead.listen_address", "Address on which the receiver of webhooks listens.",
		"A numeric address or a host name; * is every address. Keep the default behind a reverse "
		"proxy on the same machine.",
		&sl_listen_address, "127.0.0.1", PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"smartlead.port", "TCP port on which the receiver of webhooks listens.",
		"Each database with a receiver needs its own: ALTER DATABASE ... SET smartlead.port, then "
		"end the receiver with pg_terminate_backend() for it to start anew.",
		&sl_port, 8700, 1, 65535, PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomStringVariable(
		"smartlead.public_url", "URL under which Smartlead reaches the receiver of webhooks.",
		"For example https://hooks.example.com, or with a path that a reverse proxy leads to the "
		"receiver. Empty: the receiver's own address and port.",
		&sl_public_url, "", PGC_SUSET, 0, check_public_url, NULL, NULL);
	DefineCustomStringVariable(
		"smartlead.tls_certificate_file", "Certificate chain of the receiver of webhooks, in PEM.",
		"Relative to the data directory. Empty: plain HTTP, as behind a reverse proxy.",
		&sl_tls_certificate_file, "", PGC_SIGHUP, GUC_SUPERUSER_ONLY, NULL, NULL, NULL);
	DefineCustomStringVariable(
		"smartlead.tls_key_file", "Private key of the receiver of webhooks, in PEM.",
		"Relative to the data directory. Read again at each reload of the configuration.",
		&sl_tls_key_file, "", PGC_SIGHUP, GUC_SUPERUSER_ONLY, NULL, NULL, NULL);
}

int
sl_client_timeout(int seconds)
{
	return Max(seconds, 2 * sl_trigger_timeout / 1000 + 3);
}

static void
define_limit_settings(void)
{
	DefineCustomIntVariable(
		"smartlead.max_body_size", "Longest body of a webhook's request.",
		"A longer one is answered 413. A change of a lead's category carries the whole "
		"conversation, and may have a megabyte.",
		&sl_max_body_size, 8192, 1, 128 * 1024, PGC_SIGHUP, GUC_UNIT_KB, NULL, NULL, NULL);
	DefineCustomIntVariable("smartlead.max_header_size",
							"Room for the request line and the headers of a webhook's request.",
							"Taken from memory for each open connection.", &sl_max_header_size, 8,
							4, 1024, PGC_SIGHUP, GUC_UNIT_KB, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"smartlead.max_connections", "Open HTTP connections of each receiver.",
		"When there are more, the one that has kept the receiver waiting longest is closed.",
		&sl_max_connections, 2048, 1, 60000, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"smartlead.max_connections_per_address",
		"Open HTTP connections of each receiver from one address.",
		"0: no limit. Behind a reverse proxy, all connections come from the proxy's address.",
		&sl_max_connections_per_address, 0, 0, 60000, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"smartlead.max_queue_size", "Memory of each receiver for bodies of requests.",
		"When that is full, requests are answered 503, to be sent again later.", &sl_max_queue_size,
		64 * 1024, 64, 16 * 1024 * 1024, PGC_SIGHUP, GUC_UNIT_KB, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"smartlead.idle_timeout", "Time after which a silent HTTP connection is closed.",
		"Never less than twice smartlead.trigger_timeout and three seconds.", &sl_idle_timeout, 30,
		1, 3600, PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"smartlead.request_timeout", "Time that a client may take to send one request.",
		"From the connection's opening or the last answer to the end of the body. Never less than "
		"twice smartlead.trigger_timeout and three seconds.",
		&sl_request_timeout, 60, 1, 3600, PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
}

static void
define_event_settings(void)
{
	DefineCustomIntVariable(
		"smartlead.trigger_timeout", "Time that the triggers of one event may take.",
		"An event whose triggers take longer is put into smartlead_failed_events. Meanwhile the "
		"receiver can do nothing else.",
		&sl_trigger_timeout, 5000, 10, 600000, PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomStringVariable(
		"smartlead.trigger_search_path", "The search_path of triggers on smartlead_events.",
		"With the default, functions of triggers must name schemas, or SET a search_path "
		"of their own. Anyone who can create objects in a schema listed here can change what such "
		"functions do.",
		&sl_trigger_search_path, "pg_catalog, pg_temp", PGC_SIGHUP, GUC_LIST_INPUT, NULL, NULL,
		NULL);
	DefineCustomIntVariable("smartlead.event_retention", "Age at which events are removed.",
							"0: they are kept for ever. Holds for smartlead_failed_events as well.",
							&sl_event_retention, 0, 0, INT_MAX, PGC_SIGHUP, GUC_UNIT_MIN, NULL,
							NULL, NULL);
	DefineCustomIntVariable(
		"smartlead.event_key_retention", "Time for which a repeated delivery of an event is known.",
		"What identifies the event is kept as long in smartlead_event_keys. Smartlead goes on to "
		"repeat a delivery for eight hours.",
		&sl_event_key_retention, 7 * MINS_PER_HOUR * HOURS_PER_DAY, MINS_PER_HOUR * HOURS_PER_DAY,
		INT_MAX, PGC_SIGHUP, GUC_UNIT_MIN, NULL, NULL, NULL);
	DefineCustomBoolVariable(
		"smartlead.notify_events", "Sends a notification on smartlead_events for each event.",
		"Notifications make the commits of all sessions that send some wait for each other, which "
		"several receivers feel.",
		&sl_notify_events, true, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("smartlead.max_batch", "Most events that are committed together.", NULL,
							&sl_max_batch, 512, 1, 10000, PGC_SIGHUP, 0, NULL, NULL, NULL);
}

void
sl_webhook_define_settings(void)
{
	define_address_settings();
	define_limit_settings();
	define_event_settings();
}
