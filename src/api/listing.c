/*
 * api/listing.c
 *		Whole listings, page by page, into a tuplestore.
 *
 * Several pages are under way at once and are used in the order of their offsets. In memory are
 * these pages and the ids of the last rows, no more, however long the listing is.
 *
 * Rows may move while pages are read: somebody adds or removes leads. Each page therefore begins
 * with the row that ended the one before. If that row, or another one known already, is there, the
 * pages join, and rows that have been seen are left out. If none is, rows have moved up past the
 * page's beginning, and the part between is read again. What can't be told apart by ids, such as a
 * row that moves from the unread part into the read one, is not noticed.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "api/call.h"
#include "api/listing.h"

#define MAX_PAGES 32
#define OVERLAP 1 /* rows that a page repeats of the one before */
#define PAGES_REMEMBERED 16
#define MAX_PATCHES 8 /* attempts to find the rows that moved */

/* A page that was asked for, and what it holds once it has come. */
typedef struct FetchedPage
{
	MemoryContext	 context;
	SlPageRange		 range;
	const SlRequest *request;
	SlTransfer		*transfer;
	SlAnswer		*answer;
	const cJSON		*rows;
	int				 n_rows;
} FetchedPage;

typedef struct Listing
{
	const SlConnection *connection;
	SlArguments		   *arguments;
	const SlEndpoint   *endpoint;

	/* Where rows go. */
	Tuplestorestate *store;
	TupleDesc		 descriptor;
	SlRecordReader	*reader;
	Datum			*values;
	bool			*nulls;
	int64			 rows_left; /* -1: no bound */

	/* The pages under way, oldest first. */
	FetchedPage *pages[MAX_PAGES];
	int			 n_pages;
	int			 window; /* how many there may be */
	int64		 next_offset;
	int64		 total; /* -1: Smartlead doesn't tell */
	bool		 ended;

	/* The ids of the last rows, in a ring and in a table. */
	HTAB  *seen;
	int64 *ring;
	int	   ring_size;
	int64  n_remembered;
} Listing;

/* ---- ids ---- */

/* The id by which a row is known; false: it has none. */
static bool
row_id(const Listing *listing, const cJSON *row, int64 *id)
{
	const cJSON *field = sl_json_member(row, listing->endpoint->row_id);

	if (field == NULL)
		field = sl_json_member(row, "id");
	if (field == NULL)
		field = sl_json_member(sl_json_member(row, "lead"), "id");
	return field != NULL && sl_json_bigint(field, id);
}

static bool
was_seen(const Listing *listing, int64 id)
{
	return hash_search(listing->seen, &id, HASH_FIND, NULL) != NULL;
}

static void
remember(Listing *listing, int64 id)
{
	int64 *place = &listing->ring[listing->n_remembered % listing->ring_size];

	if (listing->n_remembered >= listing->ring_size)
		hash_search(listing->seen, place, HASH_REMOVE, NULL);
	*place = id;
	listing->n_remembered++;
	hash_search(listing->seen, &id, HASH_ENTER, NULL);
}

/* ---- pages ---- */

/* Every page lives in a context of its own, so that it goes with all that was read of it. */
static FetchedPage *
start_page(Listing *listing, int64 offset)
{
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "smartlead page", ALLOCSET_DEFAULT_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(context);
	FetchedPage	 *page = palloc0(sizeof(FetchedPage));
	int			  next_element;

	page->context = context;
	page->range.offset = offset;
	page->range.limit = listing->endpoint->page_size;
	if (listing->rows_left > 0 && offset == 0)
		page->range.limit = Min(page->range.limit, listing->rows_left);
	page->request = sl_request_build(listing->connection, listing->arguments, page->range, false, 0,
									 &next_element);
	page->transfer = sl_transfer_start(page->request);
	MemoryContextSwitchTo(caller);
	return page;
}

static void
finish_page(FetchedPage *page, const SlEndpoint *endpoint)
{
	MemoryContext caller = MemoryContextSwitchTo(page->context);

	page->answer = sl_answer_read(page->request, SL_LISTING, endpoint->has_passwords,
								  sl_transfer_wait(page->transfer));
	if (page->answer->problem != NULL)
		sl_problem_raise(page->answer->problem);
	page->rows = sl_answer_rows(page->answer);
	if (page->rows == NULL)
		sl_problem_raise(sl_problem_unreadable(page->request, "It holds no list of rows."));
	page->n_rows = cJSON_GetArraySize(page->rows);
	MemoryContextSwitchTo(caller);
}

/* May rows come that are not on the pages asked for so far? */
static bool
more_to_ask(const Listing *listing)
{
	if (listing->ended)
		return false;
	if (listing->next_offset == 0)
		return true;
	if (listing->endpoint->page_size == 0)
		return false;
	if (listing->total >= 0 && listing->next_offset + OVERLAP >= listing->total)
		return false;
	/* No further ahead than the rows that are still wanted. */
	return listing->rows_left < 0 ||
		   listing->n_pages * (int64) listing->endpoint->page_size < listing->rows_left;
}

static void
ask_ahead(Listing *listing)
{
	while (listing->n_pages < listing->window && more_to_ask(listing))
	{
		FetchedPage *page = start_page(listing, listing->next_offset);

		listing->pages[listing->n_pages++] = page;
		listing->next_offset += Max(page->range.limit - OVERLAP, 1);
	}
	sl_transport_run();
}

static FetchedPage *
next_page(Listing *listing)
{
	FetchedPage *page = listing->pages[0];

	memmove(&listing->pages[0], &listing->pages[1], sizeof(FetchedPage *) * --listing->n_pages);
	finish_page(page, listing->endpoint);
	return page;
}

/* ---- rows ---- */

static void
emit_row(Listing *listing, const SlRequest *request, const cJSON *row)
{
	char *problem = sl_record_read(listing->reader, row, listing->values, listing->nulls);

	if (problem != NULL)
		sl_problem_raise(sl_problem_unreadable(request, problem));
	tuplestore_putvalues(listing->store, listing->descriptor, listing->values, listing->nulls);
	if (listing->rows_left > 0)
		listing->rows_left--;
}

static void
emit_rows(Listing *listing, FetchedPage *page)
{
	MemoryContext caller = MemoryContextSwitchTo(page->context);
	bool		  paged = listing->endpoint->page_size > 0;
	int			  index = 0;
	const cJSON	 *row;

	cJSON_ArrayForEach (row, page->rows)
	{
		int64 id;
		bool  has_id = paged && row_id(listing, row, &id);

		if (listing->rows_left == 0)
			break;
		/* Without ids, the page's first row is the one that ended the page before. */
		if (has_id ? was_seen(listing, id) : paged && page->range.offset > 0 && index < OVERLAP)
		{
			index++;
			continue;
		}
		emit_row(listing, page->request, row);
		if (has_id)
			remember(listing, id);
		index++;
	}
	MemoryContextSwitchTo(caller);
}

/* ---- joining pages ---- */

static bool
joins(const Listing *listing, const FetchedPage *page)
{
	const cJSON *row;
	int64		 id;

	if (page->range.offset == 0)
		return true;
	cJSON_ArrayForEach (row, page->rows)
	{
		if (!row_id(listing, row, &id) || was_seen(listing, id))
			return true;
	}
	return false;
}

static bool
is_short(const FetchedPage *page)
{
	return page->n_rows < page->range.limit;
}

/*
 * The rows before this page have moved up, some of them past its beginning: reads backwards from it
 * until a page joins, and takes what is new there. False: the list ends before the page.
 */
static bool
read_gap(Listing *listing, const FetchedPage *page)
{
	int step = listing->endpoint->page_size - OVERLAP;
	int back = 1;

	for (int i = 0; i < MAX_PATCHES; i++)
	{
		FetchedPage *patch = start_page(listing, Max(page->range.offset - (int64) back * step, 0));
		bool		 joined, at_end;

		finish_page(patch, listing->endpoint);
		joined = joins(listing, patch);
		at_end = is_short(patch);
		if (joined)
		{
			emit_rows(listing, patch);
			back = Max(back - 1, 1);
		}
		else
			back++;
		MemoryContextDelete(patch->context);
		if (joined && joins(listing, page))
			return true;
		if (joined && at_end)
			return false;
	}
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("the rows of \"%s\" moved while they were listed", listing->endpoint->name),
			 errdetail("The pages could not be joined without losing rows."),
			 errhint("Try again when fewer changes are made.")));
}

static void
use_page(Listing *listing, FetchedPage *page)
{
	int64 total = sl_answer_total(page->answer);
	int64 end = page->range.offset + page->n_rows;

	listing->total = total;
	if (listing->endpoint->page_size > 0 && !joins(listing, page) && !read_gap(listing, page))
		listing->ended = true;
	else
		emit_rows(listing, page);
	if (listing->endpoint->page_size == 0 || is_short(page) || (total >= 0 && end >= total) ||
		listing->rows_left == 0)
		listing->ended = true;

	/* With a known end, ask as far ahead as allowed; else carefully, not to ask far beyond it. */
	listing->window = total >= 0 ? listing->connection->fetch_concurrency
								 : Min(listing->window * 2, listing->connection->fetch_concurrency);
}

static void
create_seen(Listing *listing)
{
	HASHCTL control = {0};

	control.keysize = sizeof(int64);
	control.entrysize = sizeof(int64);
	control.hcxt = CurrentMemoryContext;
	listing->ring_size = PAGES_REMEMBERED * Max(listing->endpoint->page_size, 1);
	listing->ring = palloc(sizeof(int64) * listing->ring_size);
	listing->seen = hash_create("smartlead rows seen", listing->ring_size, &control,
								HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

void
sl_listing_run(const SlConnection *connection, SlArguments *arguments, int64 max_rows,
			   Tuplestorestate *store, TupleDesc descriptor)
{
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "smartlead listing", ALLOCSET_DEFAULT_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(context);
	Listing		 *listing = palloc0(sizeof(Listing));

	listing->connection = connection;
	listing->arguments = arguments;
	listing->endpoint = arguments->endpoint;
	listing->store = store;
	listing->descriptor = descriptor;
	listing->reader = sl_record_reader(descriptor, arguments->endpoint->shape);
	listing->values = palloc(sizeof(Datum) * descriptor->natts);
	listing->nulls = palloc(sizeof(bool) * descriptor->natts);
	listing->rows_left = max_rows;
	listing->total = -1;
	listing->window = 1;
	listing->ended = max_rows == 0;
	create_seen(listing);

	for (;;)
	{
		FetchedPage *page;

		ask_ahead(listing);
		if (listing->ended || listing->n_pages == 0)
			break;
		page = next_page(listing);
		use_page(listing, page);
		MemoryContextDelete(page->context);
	}
	MemoryContextSwitchTo(caller);
	/* Pages asked for beyond the end are given up with their context. */
	MemoryContextDelete(context);
}
