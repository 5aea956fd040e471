/*
 * api/problem.c
 *		What went wrong at Smartlead, and the error that says so.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "api/problem.h"

void
sl_problem_raise(const SlProblem *problem)
{
	ereport(ERROR, (errcode(problem->sqlstate), errmsg_internal("%s", problem->message),
					problem->detail != NULL ? errdetail_internal("%s", problem->detail) : 0,
					problem->hint != NULL ? errhint("%s", problem->hint) : 0));
	pg_unreachable();
}
