/*
 * webhook/occurrence.c
 *		Events that can only be told by what they say: is this one a repetition, or has it happened again?
 *
 * The rule is at the head of fingerprint.c. The first occurrence has the fingerprint of what the event
 * says, the next one a fingerprint of that and of the id of the row before it, and so on. So two
 * receivers that get the same event at once see the same row before it, make the same fingerprint,
 * and the unique index lets one of them pass.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/uuid.h"

#include "json/json.h"
#include "role/role.h"
#include "webhook/webhook.h"

/*
 * Smartlead repeats a delivery that failed after 1, 5 and 15 minutes, 1 hour and 6 hours, each counted
 * from the one before: 7 hours and 21 minutes after the first.
 */
#define SL_RETRY_WINDOW (8 * USECS_PER_HOUR)

/* How many changes of state are looked through for the same request. */
#define CHANGES_LOOKED_AT 50

/* What the table has of an event. */
typedef struct Known
{
	int64		id;
	TimestampTz received_at;
	uint8		fingerprint[SL_FINGERPRINT_LENGTH];
} Known;

static bool
is_within_window(TimestampTz a, TimestampTz b)
{
	return (a < b ? b - a : a - b) <= SL_RETRY_WINDOW;
}

static Datum
column(uint64 row, int number, bool *is_null)
{
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, number, is_null);
}

/* The columns id, received_at and fingerprint, which come first. */
static void
read_known(uint64 row, Known *known)
{
	bool is_null;

	known->id = DatumGetInt64(column(row, 1, &is_null));
	known->received_at = DatumGetTimestampTz(column(row, 2, &is_null));
	memcpy(known->fingerprint, DatumGetUUIDP(column(row, 3, &is_null))->data,
		   SL_FINGERPRINT_LENGTH);
}

/* Runs a SELECT as the table's owner, whatever row security lets the current user see. */
static uint64
select_as_owner(const char *query, int n, Oid *types, Datum *values, const char *nulls)
{
	SlUserContext caller;

	sl_become_owner(sl_events_relation(), &caller);
	if (SPI_execute_with_args(query, n, types, values, nulls, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not look for an event");
	sl_become_oneself(&caller);
	return SPI_processed;
}

/* The fingerprint of what comes after that row and says the same. */
static void
follow(uint8 *fingerprint, int64 id)
{
	uint8 both[SL_FINGERPRINT_LENGTH + sizeof(int64)];

	memcpy(both, fingerprint, SL_FINGERPRINT_LENGTH);
	memcpy(both + SL_FINGERPRINT_LENGTH, &id, sizeof(id));
	sl_fingerprint_of(both, sizeof(both), fingerprint);
}

/* ---- what is no change of state ---- */

static bool
find_fingerprint(const uint8 *fingerprint, Known *known)
{
	Oid	   type = UUIDOID;
	Datum  value = PointerGetDatum(fingerprint);
	uint64 n = select_as_owner(psprintf("SELECT id, received_at, fingerprint FROM %s"
										" WHERE fingerprint OPERATOR(pg_catalog.=) $1",
										sl_events_name()),
							   1, &type, &value, NULL);

	if (n > 0)
		read_known(0, known);
	SPI_freetuptable(SPI_tuptable);
	return n > 0;
}

/* From occurrence to occurrence, up to one of these hours or to the first that isn't there yet. */
static void
find_occurrence(const SlSource *source, uint8 *fingerprint)
{
	Known known;

	while (find_fingerprint(fingerprint, &known) &&
		   !is_within_window(known.received_at, source->received_at))
	{
		CHECK_FOR_INTERRUPTS();
		follow(fingerprint, known.id);
	}
}

/* ---- changes of state ---- */

bool
sl_is_timeless_change(const SlEvent *event)
{
	if (sl_event_proof(event) != SL_BY_CONTENT)
		return false;
	return (event->kind == SL_CAMPAIGN_STATUS_CHANGED && event->campaign_id.given) ||
		   (event->kind == SL_LEAD_CATEGORY_UPDATED && event->lead_email != NULL);
}

/* The last changes of state of the same campaign or lead. Returns their number. */
static uint64
find_changes(const SlEvent *event, const SlSource *source)
{
	Oid	  types[] = {TEXTOID, INT8OID, TEXTOID};
	Datum values[lengthof(types)] = {CStringGetTextDatum(source->connection),
									 Int64GetDatum(event->campaign_id.value), (Datum) 0};
	char  nulls[] = "   ";

	if (!event->campaign_id.given)
		nulls[1] = 'n';
	if (event->lead_email == NULL)
		nulls[2] = 'n';
	else
		values[2] = CStringGetTextDatum(event->lead_email);
	return select_as_owner(
		psprintf("SELECT id, received_at, fingerprint, request_id, payload FROM %s"
				 " WHERE kind OPERATOR(pg_catalog.=) '%s'"
				 " AND connection OPERATOR(pg_catalog.=) $1 AND %s ORDER BY id DESC LIMIT %d",
				 sl_events_name(), event->kind_name,
				 event->kind == SL_CAMPAIGN_STATUS_CHANGED
					 ? "campaign_id OPERATOR(pg_catalog.=) $2"
					 : "lead_email OPERATOR(pg_catalog.=) $3 AND (campaign_id"
					   " OPERATOR(pg_catalog.=) $2 OR ($2 IS NULL AND campaign_id IS NULL))",
				 CHANGES_LOOKED_AT),
		lengthof(types), types, values, nulls);
}

/* Does a row of find_changes() say the same? */
static bool
says_the_same(uint64 row, const SlSource *source, const uint8 *fingerprint)
{
	bool	  is_null;
	SlPayload payload = {sl_jsonb_open(DatumGetJsonbPCopy(column(row, 5, &is_null))), NULL};
	SlEvent	  event;
	uint8	  own[SL_FINGERPRINT_LENGTH];

	sl_payload_read(&payload, &event);
	sl_fingerprint(&event, source->connection, own);
	return memcmp(own, fingerprint, SL_FINGERPRINT_LENGTH) == 0;
}

/* How the id of a row's request is to that of this one. */
typedef enum Requests
{
	SAME_REQUEST,
	OTHER_REQUEST,
	UNKNOWN_REQUEST
} Requests;

static Requests
compare_requests(uint64 row, const SlSource *source)
{
	char *id = SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, 4);

	if (id == NULL || source->request_id == NULL)
		return UNKNOWN_REQUEST;
	return strcmp(id, source->request_id) == 0 ? SAME_REQUEST : OTHER_REQUEST;
}

/* May a webhook have kept a change of category to itself? Not if it was made for all of them. */
static bool
is_filtered(const SlSource *source)
{
	Oid	   type = INT8OID;
	Datum  value = Int64GetDatum(source->webhook);
	uint64 n = select_as_owner(psprintf("SELECT FROM %s.smartlead_webhooks"
										" WHERE id OPERATOR(pg_catalog.=) $1 AND filtered",
										sl_events_schema()),
							   1, &type, &value, NULL);

	SPI_freetuptable(SPI_tuptable);
	return n > 0;
}

/* Which of the changes that are there is this one? -1: none. */
static int
find_same_change(uint64 n, const SlEvent *event, const SlSource *source, const uint8 *fingerprint,
				 bool filtered)
{
	for (uint64 i = 0; i < n; i++)
	{
		Requests requests = compare_requests(i, source);
		bool	 may_be =
			requests == SAME_REQUEST || (i == 0 && !(requests == OTHER_REQUEST && filtered));
		Known known;

		read_known(i, &known);
		if (may_be && is_within_window(known.received_at, source->received_at) &&
			says_the_same(i, source, fingerprint))
			return (int) i;
	}
	return -1;
}

static void
find_change(const SlEvent *event, const SlSource *source, uint8 *fingerprint)
{
	bool filtered = event->kind == SL_LEAD_CATEGORY_UPDATED && source->request_id != NULL &&
					is_filtered(source);
	uint64 n = find_changes(event, source);
	int	   same = find_same_change(n, event, source, fingerprint, filtered);
	Known  known;

	if (n > 0)
	{
		read_known(Max(same, 0), &known);
		if (same < 0)
			follow(fingerprint, known.id);
		else
			memcpy(fingerprint, known.fingerprint, SL_FINGERPRINT_LENGTH);
	}
	SPI_freetuptable(SPI_tuptable);
}

void
sl_event_fingerprint(const SlEvent *event, const SlSource *source, uint8 *fingerprint)
{
	sl_fingerprint(event, source->connection, fingerprint);
	if (sl_is_timeless_change(event))
		find_change(event, source, fingerprint);
	else if (sl_event_proof(event) == SL_BY_CONTENT)
		find_occurrence(source, fingerprint);
}
