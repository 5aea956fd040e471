/*
 * queue/care.c
 *		What could not be done, for people to see, and whether rows are written one by one for it.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "utils/memutils.h"

#include "queue/store.h"

static bool is_careful = false;

/* What is told until the same goes well. */
static char *troubles[SL_TROUBLES] = {NULL};
static int	 n_noted = 0;

void
sl_store_be_careful(bool careful)
{
	is_careful = careful;
	n_noted = 0;
}

bool
sl_store_is_careful(void)
{
	return is_careful;
}

int
sl_store_noted(void)
{
	return n_noted;
}

void
sl_store_note(SlStoreTrouble kind, const char *what, const ErrorData *error)
{
	if (troubles[kind] != NULL)
		pfree(troubles[kind]);
	troubles[kind] = NULL;
	if (error == NULL)
		return;
	troubles[kind] =
		MemoryContextStrdup(TopMemoryContext, psprintf("%s: %s", what, error->message));
	n_noted++;
}

const char *
sl_store_trouble(void)
{
	for (int i = 0; i < SL_TROUBLES; i++)
		if (troubles[i] != NULL)
			return troubles[i];
	return NULL;
}
