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
 * A page may hold fewer rows than were asked for without being the last one. What it lacks is asked
 * for again, and the listing ends only where Smartlead's total says so and a short page agrees, or
 * where it has nothing any more: a probe of one row past the end tells. A listing that can't be
 * had whole is an error.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "api/call.h"
#include "api/listing.h"

#define MAX_PAGES 32	/* under way, asked for ahead */
#define MAX_FRUITLESS 8 /* pages in a row that bring nothing new */
#define PAGES_REMEMBERED 16

typedef enum PageUse
{
	PAGE_NEXT,	/* the rows that come next */
	PAGE_AGAIN, /* rows that were read, and those that may have moved among them */
	PAGE_PROBE	/* is there any row past the end? */
} PageUse;

/* A page that was asked for, and what it holds once it has come. */
typedef struct FetchedPage
{
	MemoryContext	 context;
	PageUse			 use;
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

	/* The pages under way, in the order in which they are used; some are read in between. */
	FetchedPage *pages[MAX_PAGES + MAX_FRUITLESS + 3];
	int			 n_pages;
	int			 window; /* how many there may be */
	int64		 next_offset;

	int	  size;		 /* rows that a page holds: as many as are asked for, or as the service gives */
	int	  overlap;	 /* rows that a page repeats of the one before */
	int64 end;		 /* the offset after the last row that was read */
	int64 total;	 /* -1: Smartlead doesn't tell */
	int	  fruitless; /* pages since the last one that brought a new row */
	bool  in_doubt;	 /* all has been read, it seems: the probe will tell */
	bool  ended;

	/* The ids of the last rows, in a ring and in a table; and of the first one. */
	HTAB  *seen;
	int64 *ring;
	int	   ring_size;
	int64  n_remembered;
	int64  first_id;
} Listing;

/* ---- ids ---- */

/* The id by which a row is known. Pages can't be joined without. */
static int64
row_id(const Listing *listing, const FetchedPage *page, const cJSON *row)
{
	const cJSON *field = sl_json_member(row, listing->endpoint->row_id);
	int64		 id;

	if (field == NULL)
		field = sl_json_member(row, "id");
	if (field == NULL)
		field = sl_json_member(sl_json_member(row, "lead"), "id");
	if (field == NULL || !sl_json_bigint(field, &id))
		sl_problem_raise(sl_problem_unreadable(
			page->request, psprintf("A row has no \"%s\".", listing->endpoint->row_id)));
	return id;
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

	if (listing->n_remembered == 0)
		listing->first_id = id;
	if (listing->n_remembered >= listing->ring_size)
		hash_search(listing->seen, place, HASH_REMOVE, NULL);
	*place = id;
	listing->n_remembered++;
	hash_search(listing->seen, &id, HASH_ENTER, NULL);
}

/* ---- pages ---- */

/* Every page lives in a context of its own, so that it goes with all that was read of it. */
static FetchedPage *
start_page(Listing *listing, PageUse use, int64 offset, int limit)
{
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "smartlead page", ALLOCSET_DEFAULT_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(context);
	FetchedPage	 *page = palloc0(sizeof(FetchedPage));
	int			  next_element;

	page->context = context;
	page->use = use;
	page->range.offset = offset;
	page->range.limit = limit;
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

static void
raise_moved(const Listing *listing)
{
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("the rows of \"%s\" moved while they were listed", listing->endpoint->name),
			 errdetail("The pages could not be joined without losing rows."),
			 errhint("Try again when fewer changes are made.")));
}

static void
put_first(Listing *listing, FetchedPage *page)
{
	if (listing->n_pages == lengthof(listing->pages))
		raise_moved(listing);
	memmove(&listing->pages[1], &listing->pages[0], sizeof(FetchedPage *) * listing->n_pages++);
	listing->pages[0] = page;
}

static FetchedPage *
take_first(Listing *listing)
{
	FetchedPage *page = listing->pages[0];

	memmove(&listing->pages[0], &listing->pages[1], sizeof(FetchedPage *) * --listing->n_pages);
	if (page->answer == NULL)
		finish_page(page, listing->endpoint);
	return page;
}

/* The page that goes on where reading stands. Of the first one, no more than is wanted. */
static void
ask_next(Listing *listing)
{
	int64 offset = Max(listing->end - listing->overlap, 0);
	int	  limit = listing->endpoint->page_size;

	if (listing->end == 0 && listing->rows_left > 0)
		limit = Min(limit, listing->rows_left);
	if (listing->n_pages == 0)
		listing->next_offset = offset + Max(listing->size - listing->overlap, 1);
	put_first(listing, start_page(listing, PAGE_NEXT, offset, limit));
}

/* May rows come that are not on the pages asked for so far? */
static bool
more_to_ask(const Listing *listing)
{
	if (listing->endpoint->page_size == 0 || listing->in_doubt)
		return false;
	if (listing->total >= 0 && listing->next_offset + listing->overlap >= listing->total)
		return false;
	/* No further ahead than the rows that are still wanted. */
	return listing->rows_left < 0 || listing->n_pages * (int64) listing->size < listing->rows_left;
}

static void
ask(Listing *listing)
{
	if (listing->in_doubt)
		put_first(listing, start_page(listing, PAGE_PROBE, listing->end, 1));
	/* The first page that is under way may begin past the end of a short one. */
	else if (listing->n_pages == 0 || listing->pages[0]->range.offset > listing->end)
		ask_next(listing);
	while (listing->n_pages < listing->window && more_to_ask(listing))
	{
		listing->pages[listing->n_pages++] =
			start_page(listing, PAGE_NEXT, listing->next_offset, listing->endpoint->page_size);
		listing->next_offset += Max(listing->size - listing->overlap, 1);
	}
	sl_transport_run();
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

/* The page's rows that are new, as far as they are wanted. Returns how many they were. */
static int64
emit_rows(Listing *listing, FetchedPage *page)
{
	MemoryContext caller = MemoryContextSwitchTo(page->context);
	int64		  n_new = 0;
	const cJSON	 *row;

	cJSON_ArrayForEach (row, page->rows)
	{
		bool  paged = listing->endpoint->page_size > 0;
		int64 id = paged ? row_id(listing, page, row) : 0;

		if (listing->rows_left == 0)
			break;
		if (paged && was_seen(listing, id))
			continue;
		emit_row(listing, page->request, row);
		n_new++;
		if (paged)
			remember(listing, id);
	}
	MemoryContextSwitchTo(caller);
	return n_new;
}

/* ---- joining pages ---- */

static void
raise_incomplete(const Listing *listing)
{
	ereport(ERROR, (errcode(SL_ERRCODE_UNREADABLE),
					errmsg("Smartlead did not give all rows of \"%s\"", listing->endpoint->name),
					errdetail("It says that there are " INT64_FORMAT
							  ", and gave no more than " INT64_FORMAT ".",
							  listing->total, listing->end),
					errhint("Try again later.")));
}

static void
raise_repeated(const Listing *listing, const FetchedPage *page)
{
	ereport(ERROR,
			(errcode(SL_ERRCODE_UNREADABLE),
			 errmsg("Smartlead gives the same rows of \"%s\" again", listing->endpoint->name),
			 errdetail("The page at offset " INT64_FORMAT
					   " holds nothing new, as if offsets were ignored.",
					   page->range.offset)));
}

static bool
joins(const Listing *listing, const FetchedPage *page)
{
	const cJSON *row;

	if (page->range.offset == 0 || listing->overlap == 0)
		return true;
	cJSON_ArrayForEach (row, page->rows)
	{
		if (was_seen(listing, row_id(listing, page, row)))
			return true;
	}
	return false;
}

/*
 * The rows before this page have moved up, some of them past its beginning: reads backwards from
 * it, before it is looked at again. If it is empty, there is nothing in it to come back to.
 */
static void
look_back(Listing *listing, FetchedPage *page)
{
	int64 offset = page->range.offset - Max(listing->size - listing->overlap, 1);

	if (page->n_rows > 0)
		put_first(listing, page);
	else
		MemoryContextDelete(page->context);
	put_first(listing,
			  start_page(listing, PAGE_AGAIN, Max(offset, 0), listing->endpoint->page_size));
}

/* ---- where it ends ---- */

/* A first page that is short may tell how many rows the service gives at most. */
static void
learn_size(Listing *listing, const FetchedPage *page)
{
	bool first = page->use == PAGE_NEXT && page->range.offset == 0;

	if (page->n_rows > 0 && (first || page->n_rows > listing->size))
		listing->size = Min(page->n_rows, listing->endpoint->page_size);
	listing->overlap = listing->size > 1 ? 1 : 0;
}

/* A page's rows are out: is that all? */
static void
judge_end(Listing *listing, const FetchedPage *page, int64 n_new)
{
	int64 end = page->range.offset + page->n_rows;
	bool  is_short = page->n_rows < Min(page->range.limit, listing->size);

	listing->end = page->use == PAGE_AGAIN ? end : Max(listing->end, end);
	if (listing->rows_left == 0)
		listing->ended = true;
	else if (listing->endpoint->page_size == 0)
	{
		if (listing->total > page->n_rows)
			raise_incomplete(listing);
		listing->ended = true;
	}
	else if (page->use == PAGE_NEXT && n_new == 0 && page->range.offset > 0 && !is_short)
		raise_repeated(listing, page);
	else if (listing->total >= 0)
	{
		/* A full page is no sign of an end; and its total may be of the page, or too small. */
		bool doubtful = page->n_rows >= page->range.limit &&
						(page->n_rows >= listing->total || end > listing->total);

		listing->ended = end >= listing->total && !doubtful;
		listing->in_doubt = doubtful;
	}
	else
	{
		listing->ended = page->n_rows == 0;
		listing->in_doubt = !listing->ended && (is_short || page->n_rows > page->range.limit);
	}
	learn_size(listing, page);
}

/*
 * Was there no row past the end? An answer that begins with the list's first row and holds more
 * than was asked for is all there is: whoever gives it has no pages. A list of one row is taken for
 * one as well.
 */
static void
judge_probe(Listing *listing, const FetchedPage *page)
{
	bool all = page->n_rows == 0;

	if (!all && (page->n_rows > page->range.limit || listing->end == 1))
		all = row_id(listing, page, page->rows->child) == listing->first_id;
	listing->ended = all && listing->total <= listing->end;
	listing->in_doubt = false;
}

static void
use_page(Listing *listing, FetchedPage *page)
{
	bool  joined = page->use == PAGE_PROBE || joins(listing, page);
	int64 n_new = 0;

	listing->total = sl_answer_total(page->answer);
	if (page->use == PAGE_PROBE)
		judge_probe(listing, page);
	else if (joined)
	{
		n_new = emit_rows(listing, page);
		judge_end(listing, page, n_new);
	}
	listing->fruitless = n_new > 0 ? 0 : listing->fruitless + 1;
	if (!listing->ended && listing->fruitless > MAX_FRUITLESS)
	{
		if (joined && listing->total > listing->end)
			raise_incomplete(listing);
		raise_moved(listing);
	}

	/* With a known end, ask as far ahead as allowed; else carefully, not to ask far beyond it. */
	listing->window = listing->total >= 0
						  ? listing->connection->fetch_concurrency
						  : Min(listing->window * 2, listing->connection->fetch_concurrency);
	if (joined)
		MemoryContextDelete(page->context);
	else
		look_back(listing, page);
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
	listing->size = arguments->endpoint->page_size;
	listing->total = -1;
	listing->window = 1;
	listing->ended = max_rows == 0;
	create_seen(listing);

	while (!listing->ended)
	{
		ask(listing);
		use_page(listing, take_first(listing));
	}
	MemoryContextSwitchTo(caller);
	/* Pages asked for beyond the end are given up with their context. */
	MemoryContextDelete(context);
}
