/*
 * queue/trouble.h
 *		What passes: when a lane rests, who tries whether Smartlead is back, and whose fault it is.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#ifndef SL_TROUBLE_H
#define SL_TROUBLE_H

#include "smartlead.h"

#include "queue/lane.h"
#include "queue/task.h"

/* A task has a verdict: what it tells about its lane. */
extern void sl_trouble_note(SlTask *task, TimestampTz now);

/* Is the lane in trouble? Then one job at a time is tried, or none before a probe has passed. */
extern bool sl_trouble_lasts(const SlLane *lane);

/* Should a harmless question be asked now, to see whether jobs get through? */
extern bool sl_trouble_wants_probe(const SlLane *lane, TimestampTz now);

/* Did others get through while this job of the task didn't? Then it is the job's own trouble. */
extern bool sl_trouble_is_own(const SlTask *task, const SlJob *job);

/* The lane's key is refused: when to ask again whether it still is. */
extern void sl_trouble_put_off_probe(SlLane *lane, TimestampTz now);

#endif /* SL_TROUBLE_H */
