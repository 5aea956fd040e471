/*
 * role/role.h
 *		Working as another role than the current user: the only way in which that is done here.
 *
 * Whoever calls us chooses the settings of the session, and with them what an operator or a function
 * without a schema means. So does a user's trigger for what comes after it. Therefore no code
 * changes the current user but by sl_become_user(), and what SPI runs besides names the schema of
 * every operator, function and type.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#ifndef SL_ROLE_H
#define SL_ROLE_H

#include "smartlead.h"

/* Where sl_become_oneself() leads back to. */
typedef struct SlUserContext
{
	Oid user;
	int security;
	int nest_level;
} SlUserContext;

/*
 * Between these two, the current user is "user", within a security-restricted operation: no SET
 * ROLE, no temporary tables, no LISTEN. The search_path is "pg_catalog, pg_temp", row security is
 * in force, and settings that are changed are undone. They nest. An error in between needs no call
 * of the second: the (sub)transaction's abort restores everything.
 */
extern void sl_become_user(Oid user, SlUserContext *saved);
extern void sl_become_oneself(const SlUserContext *saved);

/* The same as the owner of a table, for what its users may not do to it themselves. */
extern void sl_become_owner(Oid table, SlUserContext *saved);
extern Oid	sl_owner_of(Oid table);

/*
 * The role that sql/parts/05-roles.sql calls smartlead_admin, whatever its name is by now. InvalidOid:
 * there is none any more. Needs a transaction.
 */
extern Oid sl_admin_role(void);

/*
 * The role to run somebody's work as: the role itself, or smartlead_admin in place of a superuser,
 * whose rights no trigger shall have. InvalidOid: there is no such role any more.
 */
extern Oid sl_working_role(Oid role);

/*
 * To be called once in each transaction in which users' code runs: constraint triggers that wait for
 * its end, which the server refuses in such a place, are run at once instead.
 */
extern void sl_forbid_deferred_triggers(void);

#endif /* SL_ROLE_H */
