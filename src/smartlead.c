/*
 * smartlead.c
 *		Module load: settings, shared memory, worker registration; nothing else.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "storage/shmem.h"

#include "connection/connection.h"
#include "http/ratelimit.h"
#include "http/transport.h"
#include "queue/queue.h"
#include "stats/stats.h"
#include "webhook/webhook.h"
#include "worker/worker.h"

SL_MODULE_MAGIC("smartlead", SMARTLEAD_VERSION);

void _PG_init(void);

static shmem_startup_hook_type previous_shmem_startup_hook = NULL;

/* Lays out the shared memory of every room, in the postmaster and in each backend that attaches. */
static void
shmem_startup(void)
{
	if (previous_shmem_startup_hook)
		previous_shmem_startup_hook();
	sl_rate_shmem_startup();
	sl_stats_shmem_startup();
	sl_worker_shmem_startup();
	sl_webhook_shmem_startup();
	sl_queue_shmem_startup();
}

static Size
shmem_size(void)
{
	Size size = add_size(sl_rate_shmem_size(), sl_stats_shmem_size());

	size = add_size(size, add_size(sl_worker_shmem_size(), sl_webhook_shmem_size()));
	return add_size(size, sl_queue_shmem_size());
}

#ifdef SL_HAVE_SHMEM_REQUEST_HOOK
static shmem_request_hook_type previous_shmem_request_hook = NULL;

static void
shmem_request(void)
{
	if (previous_shmem_request_hook)
		previous_shmem_request_hook();
	RequestAddinShmemSpace(shmem_size());
}
#endif

void
_PG_init(void)
{
	sl_connection_define_settings();
	sl_transport_define_settings();
	sl_worker_define_settings();
	sl_webhook_define_settings();
	sl_queue_define_settings();
	MarkGUCPrefixReserved("smartlead");
	sl_worker_install_hook();

	if (!process_shared_preload_libraries_in_progress)
		return;

#ifdef SL_HAVE_SHMEM_REQUEST_HOOK
	previous_shmem_request_hook = shmem_request_hook;
	shmem_request_hook = shmem_request;
#else
	RequestAddinShmemSpace(shmem_size());
#endif
	previous_shmem_startup_hook = shmem_startup_hook;
	shmem_startup_hook = shmem_startup;
	sl_worker_register();
}
