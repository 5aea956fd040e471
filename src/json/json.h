/*
 * json/json.h
 *		JSON texts from outside: checked, then read as PostgreSQL's values.
 *
 * One policy holds for every text, be it Smartlead's answer (which cJSON reads into a tree) or a
 * webhook's body (which build.c reads into what jsonb is made of). guard.c carries it out, before
 * either sees the text:
 *
 * - The text is JSON by RFC 8259 to the letter, in valid UTF-8, and all of it: else it is refused. A
 *   byte order mark before it is passed over.
 * - Nesting: 256 levels, else refused.
 * - Values: 250,000, and one more for each 5 bytes of text, up to 5,000,000; else refused. A number's
 *   exponent counts as a value for each 16 digits that it adds.
 * - Numbers are kept digit by digit, as numeric keeps them. One that a double can't hold (its first
 *   digit above 10^308 or below 10^-324), or of more than 1000 characters, is out of range: an answer
 *   is refused, an event is put aside; both name the number.
 * - \u0000, which PostgreSQL can't store, and the escape of half a surrogate pair, which is no
 *   character, become \ufffd, the sign for a character that can't be shown: a text cut in the middle
 *   of an emoji is no reason to lose a row or an event.
 * - Strings are converted to the database's encoding; one that has a character which that encoding
 *   lacks is an error.
 * - Of several members of one name the last one counts, as in jsonb.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#ifndef SL_JSON_H
#define SL_JSON_H

#include "smartlead.h"

#include "utils/jsonb.h"
#include "utils/tuplestore.h"

#include <cjson/cJSON.h>

#define SL_JSON_MAX_DEPTH 256

/* A whole number of so many characters is exact as a double. */
#define SL_JSON_EXACT_LENGTH 15

typedef enum SlJsonFault
{
	SL_JSON_FINE,
	SL_JSON_MALFORMED,
	SL_JSON_CUT, /* it ends too early */
	SL_JSON_BAD_UTF8,
	SL_JSON_TOO_DEEP,
	SL_JSON_TOO_MANY, /* values */
	SL_JSON_NUMBER	  /* one is out of range; all else is fine */
} SlJsonFault;

/* What the guard is told, and what it tells. */
typedef struct SlJsonCheck
{
	bool		interruptible; /* look at interrupts, and so maybe throw */
	SlJsonFault fault;
	const char *number; /* in the text: the first one out of range, or NULL */
	size_t		texts;	/* how many numbers are to be kept as text: all but short whole ones */
} SlJsonCheck;

/*
 * May this text become values? Overwrites in it what PostgreSQL can't hold, see above. Throws nothing
 * unless it is interruptible.
 */
extern bool sl_json_guard(char *text, size_t length, SlJsonCheck *check);

/* Does a number by JSON's grammar fit the policy's bounds? Never throws. */
extern bool sl_json_number_fits(const char *number, size_t length);

/* Is this text, as a whole, a number by JSON's grammar, and does it fit? Never throws. */
extern bool sl_json_is_number_text(const char *text);

/* The number at the beginning of a text, for a message: shortened if it is long. */
extern char *sl_json_number_shown(const char *number);

/*
 * The value of a text that the guard has let pass and that ends with a NUL. Objects are as in
 * jsonb: the members sorted, each name once. The text must stay as long as the value. Throws when a
 * number is out of range, or a character is not in the database's encoding.
 */
extern JsonbValue *sl_json_build(const char *text, size_t length);

/* The same of a jsonb. */
extern JsonbValue *sl_jsonb_open(Jsonb *jsonb);

/*
 * Guards a text and parses it. The tree is in the current memory context, and goes with it: it must
 * not be given to those functions of cJSON that free or allocate. NULL, with *why set to a sentence,
 * when the guard refuses the text. Short whole numbers are cJSON_Number, all others cJSON_Raw nodes,
 * which keep their text. Can be interrupted.
 */
extern cJSON *sl_json_parse(char *text, size_t length, const char **why);

/* Is this node a number, also one that is kept as text? */
extern bool sl_json_is_number(const cJSON *node);

/* The text of a scalar in the server's encoding: a string's content, a number's digits. */
extern char *sl_json_scalar_text(const cJSON *node);

/* A whole number from a number or from a text with digits. False: it is neither. */
extern bool sl_json_bigint(const cJSON *node, int64 *value);

/*
 * A time as ISO 8601 or the server's timestamptz has it, without a zone in UTC; but for "now",
 * "infinity" and the like. False: it is none.
 */
extern bool sl_json_time(const char *text, TimestampTz *when);

/* Seconds, or thousandths or millionths, since 1970. False: no number, or none that can be meant. */
extern bool sl_json_unix_time(const char *text, TimestampTz *when);

/* The member of an object, or NULL; NULL as well when the node is no object. */
extern const cJSON *sl_json_member(const cJSON *object, const char *name);

/* Sets a member of an object to a text (in UTF-8), or with NULL takes it out. */
extern void sl_json_set(cJSON *object, const char *name, const char *text);

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
	const char		   *nested;	 /* an object whose fields count as the row's own, or NULL */
	const SlFieldAlias *aliases; /* ended by a NULL field */
	bool				dashes_are_null; /* "--" stands for a missing value */
	const char *const
		*ids; /* columns of which a row has at least one, ended by NULL; or NULL: "id" */
} SlShape;

/* Reads objects into rows of one type. Palloc'd in the current context. */
typedef struct SlRecordReader SlRecordReader;

extern SlRecordReader *sl_record_reader(TupleDesc descriptor, const SlShape *shape);

/*
 * Fills values and nulls (as many as the row type has columns). A column "extra" of type jsonb takes
 * the fields that no other column has, and those that can't be read as their column's type. NULL on
 * success, else a sentence that tells why this is no row. What it points to lives until the next
 * row.
 */
extern char *sl_record_read(SlRecordReader *reader, const cJSON *object, Datum *values,
							bool *nulls);

#endif /* SL_JSON_H */
