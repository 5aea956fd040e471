/*
 * events/keys.c
 *		Each event once: what identifies events that are stored is in a table of our own.
 *
 * A key is written in the transaction of its event, and kept for smartlead.event_key_retention, which
 * is longer than Smartlead repeats deliveries. Of two transactions with the same event, one waits for
 * the other, and finds it stored or not. The table of events itself is never read.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"
#include "utils/uuid.h"

#include "events/events.h"
#include "role/role.h"

#define COLUMNS "fingerprint, event_id, received_at, subject, content, request_id"
#define N_COLUMNS 6

Datum
sl_composite_array(Oid type, HeapTuple *rows, int n)
{
	Datum *elements = palloc(sizeof(Datum) * n);

	for (int i = 0; i < n; i++)
		elements[i] = HeapTupleGetDatum(rows[i]);
	return PointerGetDatum(construct_array(elements, n, type, -1, false, TYPALIGN_DOUBLE));
}

/* ---- claiming ---- */

static HeapTuple
key_of(TupleDesc descriptor, SlEventRow *row)
{
	SlEventKey *key = &row->key;
	Datum		values[N_COLUMNS] = {
			  UUIDPGetDatum((pg_uuid_t *) key->fingerprint), row->values[SL_EVENT_ID - 1],
			  row->values[SL_EVENT_RECEIVED_AT - 1],		 UUIDPGetDatum((pg_uuid_t *) key->subject),
			  UUIDPGetDatum((pg_uuid_t *) key->content),	 row->values[SL_EVENT_REQUEST_ID - 1]};
	bool nulls[N_COLUMNS] = {false,
							 false,
							 false,
							 !key->has_subject,
							 !key->has_subject,
							 !key->has_subject || row->nulls[SL_EVENT_REQUEST_ID - 1]};

	return heap_form_tuple(descriptor, values, nulls);
}

/* Of the same event, what came first comes first. */
static int
compare_keys(const void *a, const void *b)
{
	const SlEventRow *left = *(SlEventRow *const *) a, *right = *(SlEventRow *const *) b;
	int order = memcmp(left->key.fingerprint, right->key.fingerprint, SL_FINGERPRINT_LENGTH);

	return order != 0 ? order : (left < right ? -1 : left > right);
}

/* The order in which locks are taken is the same for all, so that nobody waits in a circle. */
static SlEventRow **
sort_rows(SlEventRow *rows, int n)
{
	SlEventRow **sorted = palloc(sizeof(SlEventRow *) * n);

	for (int i = 0; i < n; i++)
		sorted[i] = &rows[i];
	qsort(sorted, n, sizeof(SlEventRow *), compare_keys);
	return sorted;
}

static Datum
array_of_keys(SlEventRow **sorted, int n, Oid type)
{
	TupleDesc  descriptor = lookup_rowtype_tupdesc(type, -1);
	HeapTuple *tuples = palloc(sizeof(HeapTuple) * n);

	for (int i = 0; i < n; i++)
		tuples[i] = key_of(descriptor, sorted[i]);
	ReleaseTupleDesc(descriptor);
	return sl_composite_array(type, tuples, n);
}

/*
 * The SELECT is for Citus: of an INSERT into a distributed table it counts the rows that were met there
 * already as well, which SPI takes for a fault where there is more in RETURNING than that.
 */
static void
run_claim(Datum array, Oid type)
{
	static SlPlan		  plan;
	const SlEventObjects *ours = sl_event_objects();
	Oid					  array_type = get_array_type(type);
	SlUserContext		  caller;

	sl_become_owner(ours->keys, &caller);
	if (!sl_plan_is_ready(&plan))
		sl_plan_make(&plan,
					 psprintf("WITH claimed AS (INSERT INTO %s.smartlead_event_keys (" COLUMNS ")"
							  " SELECT " COLUMNS " FROM pg_catalog.unnest($1)"
							  " ON CONFLICT DO NOTHING RETURNING event_id)"
							  " SELECT event_id FROM claimed",
							  ours->schema_name),
					 1, &array_type);
	if (SPI_execute_plan(plan.plan, &array, NULL, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not write the keys of events");
	sl_become_oneself(&caller);
}

/* They come back in any order: of a distributed table, as its nodes answer. */
static SlEventRow *
claimed_row(SlEventRow *rows, int n, int number)
{
	bool		is_null;
	Datum		id = SPI_getbinval(SPI_tuptable->vals[number], SPI_tuptable->tupdesc, 1, &is_null);
	SlEventRow *row = sl_event_row_of(rows, n, DatumGetInt64(id));

	if (row == NULL)
		elog(ERROR, "the key of another event came back");
	return row;
}

int
sl_keys_claim(SlEventRow *rows, int n)
{
	MemoryContext caller = CurrentMemoryContext;
	Oid			  type = get_rel_type_id(sl_event_objects()->keys);
	SlEventRow	**sorted = sort_rows(rows, n);
	int			  n_claimed;

	run_claim(array_of_keys(sorted, n, type), type);
	n_claimed = (int) SPI_processed;
	for (int i = 0; i < n; i++)
		rows[i].is_new = false;
	for (int i = 0; i < n_claimed; i++)
		claimed_row(rows, n, i)->is_new = true;
	SPI_freetuptable(SPI_tuptable);
	MemoryContextSwitchTo(caller);
	return n_claimed;
}

/* ---- looking up ---- */

static void
copy_uuid(uint64 row, int number, uint8 *copy)
{
	bool  is_null;
	Datum value = SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, number, &is_null);

	memcpy(copy, DatumGetUUIDP(value)->data, SL_FINGERPRINT_LENGTH);
}

static void
read_occurrence(uint64 row, SlOccurrence *occurrence)
{
	HeapTuple tuple = SPI_tuptable->vals[row];
	TupleDesc descriptor = SPI_tuptable->tupdesc;
	bool	  is_null;

	occurrence->id = DatumGetInt64(SPI_getbinval(tuple, descriptor, 1, &is_null));
	occurrence->received_at = DatumGetTimestampTz(SPI_getbinval(tuple, descriptor, 2, &is_null));
	copy_uuid(row, 3, occurrence->fingerprint);
	copy_uuid(row, 4, occurrence->content);
	occurrence->request_id = SPI_getvalue(tuple, descriptor, 5);
}

int
sl_keys_look_up(const uint8 *subject, int most, SlOccurrence **occurrences)
{
	static SlPlan		  plan;
	const SlEventObjects *ours = sl_event_objects();
	Oid					  types[] = {UUIDOID, INT8OID};
	Datum				  values[] = {UUIDPGetDatum((pg_uuid_t *) subject), Int64GetDatum(most)};
	SlUserContext		  caller;
	int					  n;

	sl_become_owner(ours->keys, &caller);
	if (!sl_plan_is_ready(&plan))
		sl_plan_make(&plan,
					 psprintf("SELECT event_id, received_at, fingerprint, content, request_id"
							  " FROM %s.smartlead_event_keys"
							  " WHERE subject OPERATOR(pg_catalog.=) $1"
							  " ORDER BY event_id USING OPERATOR(pg_catalog.>) LIMIT $2",
							  ours->schema_name),
					 2, types);
	if (SPI_execute_plan(plan.plan, values, NULL, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not look for an event");
	sl_become_oneself(&caller);
	n = (int) SPI_processed;
	*occurrences = palloc(sizeof(SlOccurrence) * Max(n, 1));
	for (int i = 0; i < n; i++)
		read_occurrence(i, &(*occurrences)[i]);
	SPI_freetuptable(SPI_tuptable);
	return n;
}
