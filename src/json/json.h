/*
 * json/json.h
 *		JSON texts from outside: checked, parsed by cJSON, read as PostgreSQL's values.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#ifndef SL_JSON_H
#define SL_JSON_H

#include "smartlead.h"

#include "utils/jsonb.h"
#include "utils/tuplestore.h"

#include <cjson/cJSON.h>

/*
 * Is this JSON, of no more than max_depth levels? Checks UTF-8 too. What is valid but can't be held
 * by PostgreSQL, \u0000 and halves of surrogate pairs, is overwritten by \ufffd.
 */
extern bool sl_json_guard(char *text, size_t length, int max_depth);

/*
 * The value of a text that the guard has let pass and that ends with a NUL. Objects are as in
 * jsonb: the members sorted, each name once. The text must stay as long as the value. Throws what
 * jsonb can't hold.
 */
extern JsonbValue *sl_json_build(const char *text, size_t length);

/* The same of a jsonb. */
extern JsonbValue *sl_jsonb_open(Jsonb *jsonb);

/*
 * Parses UTF-8 text. The tree is freed with the current memory context. NULL, with *why set to a
 * sentence, when the text is not JSON that PostgreSQL could hold: bad UTF-8, a NUL character,
 * nesting that is too deep. Numbers too long for a double keep their text: they
 * become cJSON_Raw nodes.
 */
extern cJSON *sl_json_parse(const char *text, size_t length, const char **why);

/* Is this node a number, also one that is kept as text? */
extern bool sl_json_is_number(const cJSON *node);

/* The text of a scalar in the server's encoding: a string's content, a number's digits. */
extern char *sl_json_scalar_text(const cJSON *node);

/* A whole number from a number or from a text with digits. False: it is neither. */
extern bool sl_json_bigint(const cJSON *node, int64 *value);

/* The member of an object, or NULL; NULL as well when the node is no object. */
extern const cJSON *sl_json_member(const cJSON *object, const char *name);

/* Removes every member, at any depth, that holds a password. */
extern void sl_json_drop_passwords(cJSON *node);

extern Jsonb *sl_json_to_jsonb(const cJSON *node);

/* Adds a member to an object under construction, which begins with a NULL state. */
extern void sl_json_push_member(JsonbParseState **state, const cJSON *member);

/* How the fields of Smartlead's objects become the columns of a row type. */
typedef struct SlFieldAlias
{
	const char *field;
	const char *column;
} SlFieldAlias;

typedef struct SlShape
{
	const char		   *nested;			/* an object whose fields count as the row's own, or NULL */
	const SlFieldAlias *aliases;		/* ended by a NULL field; for the row's own fields */
	const SlFieldAlias *nested_aliases; /* the same for the nested object's */
	bool				dashes_are_null; /* "--" stands for a missing value */
} SlShape;

/* Reads objects into rows of one type. Palloc'd in the current context. */
typedef struct SlRecordReader SlRecordReader;

extern SlRecordReader *sl_record_reader(TupleDesc descriptor, const SlShape *shape);

/*
 * Fills values and nulls (as many as the row type has columns). A column "extra" of type jsonb takes
 * the fields that no other column has. NULL on success, else a sentence that tells what can't be
 * read.
 */
extern char *sl_record_read(SlRecordReader *reader, const cJSON *object, Datum *values,
							bool *nulls);

#endif /* SL_JSON_H */
