/*
 * queue/owner.h
 *		Statements on the queue's tables on behalf of users who may not write them.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#ifndef SL_OWNER_H
#define SL_OWNER_H

#include "smartlead.h"

#include "role/role.h"

/* Between begin and end, SPI is connected and the current user is the tables' owner. */
typedef struct SlOwnerWork
{
	const char	 *schema; /* of the extension, quoted */
	SlUserContext caller;
} SlOwnerWork;

extern void sl_owner_begin(SlOwnerWork *work, Oid schema);
extern void sl_owner_end(const SlOwnerWork *work);

/*
 * Runs a statement in which %s stands for the schema, as often as it is there. Returns how many rows
 * it touched.
 */
extern uint64 sl_owner_execute(const SlOwnerWork *work, const char *statement, int n_args,
							   Oid *types, Datum *values, const char *nulls);

/* Does the user supervise the whole queue? */
extern bool sl_user_is_admin(Oid user);

#endif /* SL_OWNER_H */
