/*
 * queue/rights.h
 *		Whether a role may have an action performed.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#ifndef SL_RIGHTS_H
#define SL_RIGHTS_H

#include "smartlead.h"

#include "api/endpoints.h"

/*
 * Throws unless the extension, in this schema, has a function that does what the row says and takes
 * all of these arguments, and the role may execute it.
 */
extern void sl_rights_check(Oid schema, const SlEndpoint *endpoint, const char *const *names,
							int n_names, Oid role);

#endif /* SL_RIGHTS_H */
