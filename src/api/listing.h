/*
 * api/listing.h
 *		Whole listings, page by page, into a tuplestore.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#ifndef SL_LISTING_H
#define SL_LISTING_H

#include "smartlead.h"

#include "utils/tuplestore.h"

#include "api/arguments.h"

/* Puts the listing's rows, at most max_rows of them (-1: all), into the store. */
extern void sl_listing_run(const SlConnection *connection, SlArguments *arguments, int64 max_rows,
						   Tuplestorestate *store, TupleDesc descriptor);

#endif /* SL_LISTING_H */
