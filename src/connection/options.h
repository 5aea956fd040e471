/*
 * connection/options.h
 *		The options of servers and user mappings: their names, their checks, their values.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#ifndef SL_OPTIONS_H
#define SL_OPTIONS_H

#include "smartlead.h"

#include "nodes/pg_list.h"

#include "connection/connection.h"

/* Fills the connection from a server's or a user mapping's DefElems; what is not there stays. */
extern void sl_options_apply(SlConnection *connection, List *options);

#endif /* SL_OPTIONS_H */
