/*
 * api/complete.h
 *		Parameters that Smartlead demands and that the user need not know.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#ifndef SL_COMPLETE_H
#define SL_COMPLETE_H

#include "smartlead.h"

#include "api/endpoints.h"

/* An update of a lead must name its e-mail address even when that stays: reads it by the lead's id. */
extern const SlCompletion sl_complete_lead_email;

/* A lead by its e-mail address: looks up its id. */
extern const SlCompletion sl_complete_lead_id;

/* A category by its name: looks up its id among the workspace's own. */
extern const SlCompletion sl_complete_category_id;

/* What to ask before the call; NULL: nothing, or it was found out a short while ago. */
extern struct SlArguments *sl_complete_ask(const SlConnection *connection,
										   struct SlArguments *arguments);

/* The call has failed, maybe because of what was found out before. */
extern void sl_complete_forget(const SlConnection *connection, const struct SlArguments *arguments);

#endif /* SL_COMPLETE_H */
