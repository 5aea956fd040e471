/*
 * smartlead.h
 *		What every room of the extension needs: its name, its version, its rooms' start-up calls.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#ifndef SL_SMARTLEAD_H
#define SL_SMARTLEAD_H

#include "postgres.h"

#include "compat.h"

#define SL_EXTENSION "smartlead"
#define SL_FDW "smartlead"

#endif /* SL_SMARTLEAD_H */
