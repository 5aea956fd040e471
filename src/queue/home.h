/*
 * queue/home.h
 *		Where a queue is at home: in which table of which database of which cluster.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#ifndef SL_HOME_H
#define SL_HOME_H

#include "smartlead.h"

/*
 * A number that stands for this very table, here: another one in each copy, but in a physical one,
 * which takes the original's place.
 */
extern int64 sl_home(Oid queue);

#endif /* SL_HOME_H */
