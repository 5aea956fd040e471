/*
 * queue/automation.h
 *		Automations: what is enqueued for which events.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#ifndef SL_AUTOMATION_H
#define SL_AUTOMATION_H

#include "smartlead.h"

#include "utils/jsonb.h"

/* Does an automation, of whatever connection, wait for events of that kind? */
extern bool sl_kind_has_automations(const char *kind, Oid schema);

/* What templates are filled from. */
typedef struct SlTemplateSource
{
	Jsonb *payload;
	Jsonb *columns; /* the event's columns but the payload, by name; jsonpath's variables */
} SlTemplateSource;

/*
 * The arguments with everything filled in from the event; what the event hasn't got is null. With a
 * NULL source, members that have something to fill in are left out: what remains can be checked.
 */
extern Jsonb *sl_template_fill(Jsonb *args, const SlTemplateSource *source);

/* Does the condition (a jsonpath) find something, other than false and null? */
extern bool sl_template_matches(Datum condition, const SlTemplateSource *source);

#endif /* SL_AUTOMATION_H */
