/*
 * api/arguments.h
 *		The arguments of one call, whoever gave them: SQL, a queued job, or the endpoint itself.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#ifndef SL_ARGUMENTS_H
#define SL_ARGUMENTS_H

#include "smartlead.h"

#include "utils/jsonb.h"

#include "api/endpoints.h"

/* One value in the two forms in which requests need it; both NULL: not given. */
typedef struct SlArgument
{
	char  *text;	 /* for a path or a query; NULL for a list or an object */
	char  *json;	 /* for a body */
	char **elements; /* of a list, as JSON */
	int	   n_elements;
} SlArgument;

typedef struct SlArguments
{
	const SlEndpoint *endpoint;
	SlArgument		  value[FLEXIBLE_ARRAY_MEMBER]; /* by the parameter's index */
} SlArguments;

extern SlArguments *sl_arguments(const SlEndpoint *endpoint);

/* Sets a parameter from a value of one of the SQL types that the functions are declared with. */
extern void sl_arguments_set(SlArguments *arguments, int param, Datum value, Oid type);

/*
 * Sets parameters from the members of a JSON object. Throws for a name that is no parameter and for
 * a value of another type; null leaves a parameter as not given.
 */
extern void sl_arguments_set_jsonb(SlArguments *arguments, Jsonb *object);

extern void sl_arguments_set_text(SlArguments *arguments, const char *name, const char *text);
extern void sl_arguments_set_bigint(SlArguments *arguments, const char *name, int64 number);

/* The text of a parameter, or NULL when it isn't given. */
extern const char *sl_arguments_text(const SlArguments *arguments, const char *name);

/* Throws if something required is missing, or if there is nothing to change. */
extern void sl_arguments_check(const SlArguments *arguments);

#endif /* SL_ARGUMENTS_H */
