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

#endif /* SL_COMPLETE_H */
