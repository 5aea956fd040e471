/*
 * api/call.h
 *		One call of an endpoint: from its arguments to a request, from the answer to a result.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#ifndef SL_CALL_H
#define SL_CALL_H

#include "smartlead.h"

#include "api/arguments.h"
#include "api/endpoints.h"
#include "api/problem.h"
#include "http/transport.h"

/* What Smartlead answered, read and judged. Lives in the context in which it was read. */
typedef struct SlAnswer
{
	SlProblem  *problem; /* NULL: it worked */
	int			status;
	const char *text;		/* the body as it came, UTF-8 */
	cJSON	   *root;		/* NULL: the body is empty or no JSON that can be read */
	const char *unreadable; /* why a body that looks like JSON can't be read, or NULL */
} SlAnswer;

/* The part of a listing to ask for; a limit of 0: the endpoint has no pages. */
typedef struct SlPageRange
{
	int64 offset;
	int	  limit;
} SlPageRange;

/*
 * The request for a call. Of a list longer than its parameter allows, the elements from
 * first_element on are sent, as many as fit; *next_element tells where to go on, or is 0 at the end.
 */
extern SlRequest *sl_request_build(const SlConnection *connection, const SlArguments *arguments,
								   SlPageRange page, bool alternative_names, int first_element,
								   int *next_element);

/* Reads and judges a response. Never throws for what Smartlead did. */
extern SlAnswer *sl_answer_read(const SlRequest *request, SlKind kind, bool has_passwords,
								const SlResponse *response);

/* Was a parameter refused by its name, so that its other spelling is worth a try? */
extern bool sl_answer_refuses_name(const SlAnswer *answer, const SlArguments *arguments);

/* Does the whole call, all its requests. The answer of the last one; problems in it, not thrown. */
extern SlAnswer *sl_call_try(const SlConnection *connection, SlArguments *arguments);

/* The same, but throws the problem. */
extern SlAnswer *sl_call(const SlConnection *connection, SlArguments *arguments);

/* The sum of the endpoint's count_field over the requests of a call; false: Smartlead didn't say. */
extern bool sl_call_count(const SlConnection *connection, SlArguments *arguments, int64 *count);

/* The array of rows in a listing's answer, whatever its envelope; NULL: there is none. */
extern const cJSON *sl_answer_rows(const SlAnswer *answer);

/* The number of rows that the whole listing has, or -1 when the answer doesn't tell. */
extern int64 sl_answer_total(const SlAnswer *answer);

/* The object in a lookup's answer, whatever its envelope; NULL: nothing was found. */
extern const cJSON *sl_answer_object(const SlAnswer *answer);

/*
 * The whole answer: JSON as it is, a plain text as a JSON string; NULL: it is empty. Throws for what
 * looks like JSON and can't be read.
 */
extern Jsonb *sl_answer_jsonb(const SlRequest *request, const SlAnswer *answer);

/* An answer in which something can't be read. */
extern SlProblem *sl_problem_unreadable(const SlRequest *request, const char *why);

/* A write that may or may not have been done, and that must not be done twice. */
extern SlProblem *sl_problem_unknown_outcome(const SlRequest *request, char *detail);

/* Percent-encodes text of the server's encoding for a path or a query. */
extern char *sl_url_encode(const char *text);

#endif /* SL_CALL_H */
