/*
 * queue/automation.h
 *		Automations: what is enqueued for which events.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#ifndef SL_AUTOMATION_H
#define SL_AUTOMATION_H

#include "smartlead.h"

#include "access/htup.h"
#include "access/tupdesc.h"
#include "utils/jsonb.h"

#include "queue/owner.h"

/*
 * Does an automation, of whatever connection, wait for events of that kind (NULL: of an unknown
 * one)? In a transaction; costs next to nothing.
 */
extern bool sl_automations_wanted(const char *kind);

/*
 * Enqueues what the automations want for events that are being stored. The rows have the columns of
 * smartlead_events, found by their names, whatever else they have. An automation that fails leaves a
 * job in the dead letter, or a note beside it; what is thrown has to do with none of them (a cancel,
 * a deadlock, a full disk). Whoever is the current user: the queue is written as its owner.
 *
 * Automations use their owners' keys. So the caller answers for it that each row's connection is the
 * one of the webhook that has brought it: no trigger may have chosen another. In a transaction.
 */
extern void sl_automations_run(TupleDesc descriptor, HeapTuple *rows, int n);

/* What templates are filled from. */
typedef struct SlTemplateSource
{
	Jsonb *payload; /* NULL: there is none, only the names of the columns are looked at */
	Jsonb *columns; /* the event's columns but the payload, by name; jsonpath's variables */
} SlTemplateSource;

/*
 * The arguments with everything filled in from the event; what the event hasn't got is null. With a
 * NULL source, members that have something to fill in are left out: what remains can be checked.
 */
extern Jsonb *sl_template_fill(Jsonb *args, const SlTemplateSource *source);

/* Does the condition (a jsonpath) find something, other than false and null? Throws what it throws. */
extern bool sl_template_matches(Datum condition, const SlTemplateSource *source);

/* Throws if arguments or condition (has_condition) name a column that the events' table hasn't got. */
extern void sl_template_check_columns(Oid schema, Jsonb *args, bool has_condition, Datum condition);

/* Writes down what a condition threw, for smartlead_list_automations(); not more than once a minute. */
extern void sl_automation_record_trouble(const SlOwnerWork *work, int64 automation,
										 const ErrorData *error);

#endif /* SL_AUTOMATION_H */
