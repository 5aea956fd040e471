/*
 * api/endpoints.h
 *		The endpoint table: what can be asked of Smartlead, and how.
 *
 * It is what the SQL functions, the queue and whatever comes later go by. The table is made at build
 * time, as the functions themselves are, of the declarations in endpoints/; CONTRIBUTING.md tells how
 * one is added.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#ifndef SL_ENDPOINTS_H
#define SL_ENDPOINTS_H

#include "smartlead.h"

#include "http/transport.h"
#include "json/json.h"

struct SlAnswer;
struct SlArguments;

typedef enum SlPlace
{
	SL_IN_PATH,
	SL_IN_QUERY,
	SL_IN_BODY,
	SL_NOT_SENT_ITSELF /* the row's "complete" turns it into another parameter */
} SlPlace;

typedef enum SlParamType
{
	SL_BIGINT,
	SL_INTEGER,
	SL_NUMERIC,
	SL_TEXT,
	SL_BOOLEAN,
	SL_TIMESTAMP,
	SL_DATE,
	SL_OBJECT,
	SL_ARRAY,
	SL_BIGINTS,
	SL_INTEGERS,
	SL_TEXTS,
	SL_BIGINT_AS_LIST, /* one value, sent as a list of one */
	SL_TEXT_AS_LIST
} SlParamType;

/* A word of ours, and what is sent for it. */
typedef struct SlWord
{
	const char *word;
	const char *sent;
} SlWord;

typedef struct SlParam
{
	const char *name; /* in SQL; the word that Smartlead uses when it is read back */
	SlPlace		place;
	SlParamType type;
	bool		required;
	bool		found_out;	  /* by the row's "completion": nobody's argument */
	const char *wire;		  /* Smartlead's word when it is written, if another one; a dot in
									  * it leads into an object of the body */
	const char *alternative;  /* a second spelling, tried when the first one is refused */
	int			max_elements; /* of a list, in one request; 0: any */
	char *(*read)(const char *text); /* what a text is sent as; throws for what it can't be */
	const SlWord *words;			 /* that a text may be, ended by a NULL; or NULL: any */
	bool		  bounded;			 /* a number is from low to high */
	int64		  low;
	int64		  high;
} SlParam;

typedef enum SlKind
{
	SL_ACTION, /* changes something */
	SL_LOOKUP, /* one object or none */
	SL_LISTING
} SlKind;

/* How parameters that aren't given are found out by asking Smartlead something else before. */
typedef struct SlCompletion
{
	/* What to ask, or NULL when there is nothing to find out. */
	struct SlArguments *(*ask)(const struct SlArguments *arguments);
	/* Takes the parameters from the answer, in which there is no problem. Throws if they are not in it. */
	void (*take)(const SlConnection *connection, struct SlArguments *arguments,
				 const struct SlAnswer *answer);
	/* The parameters from which and which it finds, if what was found is kept for a while; or NULL. */
	const char *from;
	const char *found;
} SlCompletion;

typedef struct SlEndpoint
{
	const char	  *name; /* of the SQL function, without "smartlead_" */
	SlKind		   kind;
	SlHost		   host;
	SlMethod	   method;
	const char	  *path;   /* {parameter} stands for its value */
	const SlParam *params; /* ended by a NULL name */

	/* Serves the extension itself: there is no function for it, and nobody can enqueue it. */
	bool internal;
	/* Its function is for smartlead_admin, not for smartlead_user. */
	bool administrators;
	/* What a call costs besides time: the price of an order. Then it is for administrators. */
	const char *costs;
	/* May it be sent again when the outcome is in doubt? Always true of what only reads. */
	bool repeatable;
	/* In the queue, it goes before what is not: it keeps mail from people who must not get it. */
	bool urgent;
	/* It makes something, whose id is in the answer. */
	bool makes_an_id;
	/* At least one parameter in the body must be given. */
	bool needs_a_change;
	/* Sent in the body besides the parameters: how something is cleared. */
	const char *fixed_body;
	/* The answer holds mailbox passwords, which are dropped as it is parsed. */
	bool has_passwords;
	/* Rows a page, for a listing that has pages; and the field by which rows are told apart. */
	int			page_size;
	const char *row_id;
	/* How many things an action did, for functions that return a number. */
	const char *count_field;
	/* How an object's fields become a row's columns. */
	const SlShape *shape;
	/* Parameters that Smartlead demands and the user need not know. */
	const SlCompletion *completion;
	/* How sure it is that Smartlead has the route: "documentation, cli"; and what speaks against it. */
	const char *known_from;
	const char *doubt;
} SlEndpoint;

/* The endpoint of that name whose parameters are these (rows may share a name), or NULL. */
extern const SlEndpoint *sl_endpoint_find(const char *name, const char *const *params,
										  int n_params);

/* Any endpoint of that name, or NULL; for messages and permissions. */
extern const SlEndpoint *sl_endpoint_named(const char *name);

/* The table itself, ended by a NULL name. */
extern const SlEndpoint sl_endpoints[];

extern int sl_endpoint_param_count(const SlEndpoint *endpoint);

/* The index of the parameter of that name, or -1. */
extern int sl_endpoint_param(const SlEndpoint *endpoint, const char *name);

#endif /* SL_ENDPOINTS_H */
