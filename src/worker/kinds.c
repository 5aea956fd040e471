/*
 * worker/kinds.c
 *		The kinds of workers that a launcher runs in each database.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "webhook/webhook.h"
#include "worker/worker.h"

const SlWorkerKind sl_worker_kinds[] = {
	{"receiver", "sl_receiver_main", &sl_receivers},
	{"dispatcher", "sl_dispatcher_main", NULL},
	{"housekeeper", "sl_housekeeper_main", NULL},
};

const int sl_n_worker_kinds = lengthof(sl_worker_kinds);
