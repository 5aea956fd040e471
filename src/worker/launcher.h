/*
 * worker/launcher.h
 *		Between the launcher and the functions that start and stop it.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#ifndef SL_LAUNCHER_H
#define SL_LAUNCHER_H

#include "smartlead.h"

#include "postmaster/bgworker.h"

extern char *sl_databases; /* the setting smartlead.databases */

/* A launcher for one database, or with InvalidOid for those of smartlead.databases. */
extern void sl_launcher_describe(BackgroundWorker *worker, Oid database);

extern PGDLLEXPORT void sl_launcher_main(Datum argument);

#endif /* SL_LAUNCHER_H */
