/*
 * api/problem.h
 *		What went wrong at Smartlead, and the error that says so.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#ifndef SL_PROBLEM_H
#define SL_PROBLEM_H

#include "smartlead.h"

/* One SQLSTATE a class, in a class of our own: PL/pgSQL can catch exactly the one it means. */
#define SL_ERRCODE_INVALID_ARGUMENT MAKE_SQLSTATE('S', 'L', '4', '0', '0')
#define SL_ERRCODE_BAD_KEY MAKE_SQLSTATE('S', 'L', '4', '0', '1')
#define SL_ERRCODE_NO_PERMISSION MAKE_SQLSTATE('S', 'L', '4', '0', '3')
#define SL_ERRCODE_NOT_FOUND MAKE_SQLSTATE('S', 'L', '4', '0', '4')
#define SL_ERRCODE_TIMEOUT MAKE_SQLSTATE('S', 'L', '4', '0', '8')
#define SL_ERRCODE_REFUSED MAKE_SQLSTATE('S', 'L', '4', '0', '9')
#define SL_ERRCODE_THROTTLED MAKE_SQLSTATE('S', 'L', '4', '2', '9')
#define SL_ERRCODE_UNREADABLE MAKE_SQLSTATE('S', 'L', '5', '0', '2')
#define SL_ERRCODE_UNAVAILABLE MAKE_SQLSTATE('S', 'L', '5', '0', '3')
#define SL_ERRCODE_UNKNOWN_OUTCOME MAKE_SQLSTATE('S', 'L', '5', '2', '0')

typedef struct SlProblem
{
	int	  sqlstate;
	char *message; /* as errmsg, errdetail, errhint want them; in the server's encoding */
	char *detail;  /* or NULL */
	char *hint;	   /* or NULL */
	char *said;	   /* Smartlead's own words, or NULL */
} SlProblem;

pg_noreturn extern void sl_problem_raise(const SlProblem *problem);

#endif /* SL_PROBLEM_H */
