/*
 * api/complete.h
 *		Parameters that Smartlead demands and that the user need not know.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#ifndef SL_COMPLETE_H
#define SL_COMPLETE_H

#include "smartlead.h"

#include "api/arguments.h"
#include "connection/connection.h"

/* An update of a lead must name its e-mail address even when that stays: reads it by the lead's id. */
extern void sl_complete_lead_email(const SlConnection *connection, SlArguments *arguments);

/* A category by its name: looks up its id among the workspace's own. */
extern void sl_complete_category_id(const SlConnection *connection, SlArguments *arguments);

#endif /* SL_COMPLETE_H */
