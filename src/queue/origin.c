/*
 * queue/origin.c
 *		Whose queue it is: its home, and the roles of jobs that came with a dump.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "executor/spi.h"
#include "utils/builtins.h"

#include "queue/statement.h"
#include "queue/store.h"

static SlStatement homes = {"SELECT home, database_name::pg_catalog.text, "
							"system_identifier::pg_catalog.text FROM %1$s.smartlead_queue_home",
							0,
							{0}};

/* A database made from another one in which nothing was ever enqueued has copied nothing. */
static SlStatement settle = {
	"UPDATE %1$s.smartlead_queue_home h SET home = %2$s, database = d.oid, "
	"database_name = d.datname, since = pg_catalog.clock_timestamp() "
	"FROM pg_catalog.pg_database d, pg_catalog.pg_control_system() c "
	"WHERE d.datname = pg_catalog.current_database() AND h.database <> d.oid "
	"AND h.system_identifier = c.system_identifier "
	"AND (SELECT pg_catalog.count(*) = 1 FROM %1$s.smartlead_queue_home) "
	"AND NOT (SELECT s.is_called FROM %1$s.smartlead_queue_id_seq s) "
	"AND NOT EXISTS (SELECT FROM %1$s.smartlead_queue)",
	0,
	{0}};

/* A role that was missing when a dump was loaded has come. */
static SlStatement bind_roles = {"UPDATE %1$s.smartlead_queue j SET run_as = l.role "
								 "FROM (SELECT q.id, r.oid AS role FROM %1$s.smartlead_queue q "
								 "JOIN pg_catalog.pg_roles r ON r.rolname = q.run_as_name "
								 "WHERE q.state = 'ready' AND q.run_as = 0::pg_catalog.oid "
								 "AND q.home = %2$s FOR UPDATE OF q SKIP LOCKED) l "
								 "WHERE j.id = l.id",
								 0,
								 {0}};

char *
sl_store_foreign_home(void)
{
	char *foreign = NULL;
	bool  ours = false;
	bool  is_null;

	sl_statement_execute(&homes, NULL, NULL);
	ours = SPI_processed == 1 &&
		   DatumGetInt64(sl_statement_column(0, 1, &is_null)) == sl_statement_home();
	for (int i = 0; i < SPI_processed && !ours && foreign == NULL; i++)
		if (DatumGetInt64(sl_statement_column(i, 1, &is_null)) != sl_statement_home())
			foreign = psprintf("database \"%s\" of system %s",
							   TextDatumGetCString(sl_statement_column(i, 2, &is_null)),
							   TextDatumGetCString(sl_statement_column(i, 3, &is_null)));
	SPI_freetuptable(SPI_tuptable);
	return ours || foreign != NULL ? foreign : pstrdup("a dump");
}

bool
sl_store_settle(void)
{
	sl_statement_execute(&settle, NULL, NULL);
	return SPI_processed > 0;
}

bool
sl_store_bind_roles(void)
{
	sl_statement_execute(&bind_roles, NULL, NULL);
	return SPI_processed > 0;
}
