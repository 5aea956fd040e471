/*
 * queue/settings.c
 *		The settings of the queue and its dispatcher.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "queue/queue.h"

bool sl_queue_perform_jobs = true;
int	 sl_queue_concurrency = 32;
int	 sl_queue_max_attempts = 20;
int	 sl_queue_retention_min = 7 * 24 * 60;

void
sl_queue_define_settings(void)
{
	DefineCustomBoolVariable(
		"smartlead.perform_jobs", "Whether the dispatcher performs the queue's jobs.",
		"If off, they wait; whatever is under way is waited for. Switch it off in a physical copy "
		"that is opened beside the living original.",
		&sl_queue_perform_jobs, true, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("smartlead.queue_concurrency",
							"How many requests of one role on one connection the queue's "
							"dispatcher has under way at once.",
							"The connection's rate_limit holds besides, and 96 for all together, "
							"beyond which each role on each connection has two.",
							&sl_queue_concurrency, 32, 1, 100, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"smartlead.queue_max_attempts",
		"How often a job may fail for what should pass, while others of its "
		"action get through, before it is "
		"given up.",
		"Attempts are up to a second apart at first, up to ten minutes at last. "
		"While nothing gets through, none counts.",
		&sl_queue_max_attempts, 20, 1, 1000, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"smartlead.queue_retention",
		"How long jobs that are done, failed or cancelled are kept in the queue.",
		"If set to -1, they are kept until somebody deletes them.", &sl_queue_retention_min,
		7 * 24 * 60, -1, INT_MAX / 60, PGC_SIGHUP, GUC_UNIT_MIN, NULL, NULL, NULL);
}
