/*
 * events/events.h
 *		The table of events, which is the user's own, and what keeps its events apart: keys and ids.
 *
 * The receiver writes them (webhook/), and others look: the queue, the housekeeping, functions.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#ifndef SL_EVENTS_H
#define SL_EVENTS_H

#include "smartlead.h"

#include "access/htup.h"
#include "datatype/timestamp.h"
#include "storage/lockdefs.h"

#define SL_FINGERPRINT_LENGTH 16

/* The columns of the type smartlead_event, in their order. */
typedef enum SlEventColumn
{
	SL_EVENT_ID = 1,
	SL_EVENT_RECEIVED_AT,
	SL_EVENT_CONNECTION,
	SL_EVENT_WEBHOOK,
	SL_EVENT_REQUEST_ID,
	SL_EVENT_FINGERPRINT,
	SL_EVENT_EVENT_TYPE,
	SL_EVENT_KIND,
	SL_EVENT_EVENT_AT,
	SL_EVENT_CAMPAIGN_ID,
	SL_EVENT_CAMPAIGN_NAME,
	SL_EVENT_CLIENT_ID,
	SL_EVENT_LEAD_ID,
	SL_EVENT_LEAD_MAP_ID,
	SL_EVENT_LEAD_EMAIL,
	SL_EVENT_LEAD_NAME,
	SL_EVENT_FROM_EMAIL,
	SL_EVENT_TO_EMAIL,
	SL_EVENT_SEQUENCE_NUMBER,
	SL_EVENT_SUBJECT,
	SL_EVENT_MESSAGE_ID,
	SL_EVENT_STATS_ID,
	SL_EVENT_LINK,
	SL_EVENT_CATEGORY,
	SL_EVENT_CATEGORY_ID,
	SL_EVENT_REPLY_TEXT,
	SL_EVENT_PAYLOAD,
	SL_N_EVENT_COLUMNS = SL_EVENT_PAYLOAD
} SlEventColumn;

/* What identifies an event, as smartlead_event_keys has it. */
typedef struct SlEventKey
{
	uint8 fingerprint[SL_FINGERPRINT_LENGTH];
	bool  has_subject; /* it is told by its content, and may happen again */
	uint8 subject[SL_FINGERPRINT_LENGTH];
	uint8 content[SL_FINGERPRINT_LENGTH]; /* the fingerprint of its first occurrence */
} SlEventKey;

/* A row of the type smartlead_event. */
typedef struct SlEventRow
{
	SlEventKey key;
	bool	   is_new; /* of sl_keys_claim() */
	Datum	   values[SL_N_EVENT_COLUMNS];
	bool	   nulls[SL_N_EVENT_COLUMNS];
} SlEventRow;

/* What belongs to the extension (table.c). A change makes another generation of it. */
typedef struct SlEventObjects
{
	Oid	   schema;
	char   schema_name[2 * NAMEDATALEN + 3]; /* quoted */
	Oid	   keys;							 /* the table smartlead_event_keys */
	Oid	   sequence;						 /* smartlead_event_id_seq */
	Oid	   row_type, row_relation;			 /* smartlead_event */
	uint64 generation;
} SlEventObjects;

extern const SlEventObjects *sl_event_objects(void);

/* A plan that is kept as long as these objects are the same. In SPI. */
typedef struct SlPlan
{
	struct _SPI_plan *plan;
	uint64			  generation;
} SlPlan;

extern bool sl_plan_is_ready(const SlPlan *plan); /* false: to be made */
extern void sl_plan_make(SlPlan *plan, const char *statement, int n, Oid *types);

/*
 * The table of events, locked until the end of the transaction. Throws if there is none, or if it
 * doesn't fit.
 */
extern Oid sl_events_lock(LOCKMODE mode);

/* The same without an error; *table is InvalidOid if nothing has the name. For reading. */
extern bool sl_events_fit(Oid *table);

/* Makes it where there is none. In SPI. */
extern void sl_events_create(void);

/*
 * Draws the ids of rows, after telling smartlead_new_events() that there will be some. The last one
 * that anybody has drawn, or 0 (ids.c). In a transaction.
 */
extern void	 sl_event_ids_draw(SlEventRow *rows, int n);
extern int64 sl_last_event_id(void);

/* The one of these rows, whose ids were drawn together, that has the id; or NULL (ids.c). */
extern SlEventRow *sl_event_row_of(SlEventRow *rows, int n, int64 id);

/*
 * Writes the keys of events, and marks those rows whose event is new (keys.c). Returns their number.
 * Waits for transactions that write the same keys. In a transaction and SPI.
 */
extern int sl_keys_claim(SlEventRow *rows, int n);

/* An event that is told by its content, and has happened already. */
typedef struct SlOccurrence
{
	int64		id;
	TimestampTz received_at;
	uint8		fingerprint[SL_FINGERPRINT_LENGTH];
	uint8		content[SL_FINGERPRINT_LENGTH];
	const char *request_id; /* or NULL */
} SlOccurrence;

/* The last ones of a subject, the last one first. Returns their number. In a transaction and SPI. */
extern int sl_keys_look_up(const uint8 *subject, int most, SlOccurrence **occurrences);

/* An array of a composite type. */
extern Datum sl_composite_array(Oid type, HeapTuple *rows, int n);

#endif /* SL_EVENTS_H */
