/*
 * http/redact.h
 *		Strikes the API key out of texts that came from outside.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#ifndef SL_REDACT_H
#define SL_REDACT_H

#include "smartlead.h"

#include "connection/connection.h"

/* A palloc'd copy of the text in which the connection's key reads "***", plain or URL-encoded. */
extern char *sl_redact(const SlConnection *connection, const char *text);

#endif /* SL_REDACT_H */
