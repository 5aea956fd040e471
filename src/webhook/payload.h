/*
 * webhook/payload.h
 *		How a payload is read, among those who do it:
 *
 *		fields.c	the table: what the fields mean, and at which places they stand
 *		place.c		what stands at a place of a payload
 *		kind.c		which kind of event it is, by whatever name
 *		envelope.c	a body's events, out of what tools have put them into
 *		address.c	"Name <address>" taken apart
 *		payload.c	the columns
 *
 * Copyright (c) 2026, the smartlead authors
 */
#ifndef SL_PAYLOAD_H
#define SL_PAYLOAD_H

#include "webhook/webhook.h"

/* ---- places (place.c) ---- */

#define SL_MAX_KEYS 3	   /* in a path */
#define SL_MAX_PARTS 2	   /* of what is put together */
#define SL_LONGEST_NAME 31 /* in a place */

/* A member of the payload, or of a member of it, and so on. */
typedef struct SlPath
{
	const char *keys[SL_MAX_KEYS];
	int			lengths[SL_MAX_KEYS];
	int			n;
} SlPath;

/* One of a list. */
typedef struct SlPlace
{
	struct SlPlace *next;
	SlPath			parts[SL_MAX_PARTS];
	int				n_parts;
	const char	   *parameter; /* of the URL that is there, with its "="; or NULL */
	char			mark;	   /* '!', '~', '@' or '\0' */
} SlPlace;

/*
 * An object, or the first of a list of them, whose members are looked for. They are sorted by the
 * lengths of their names, so those of one length are together, and few. Anything else has none.
 */
typedef struct SlObject
{
	const JsonbValue *value;					  /* NULL: an empty list */
	int				  first[SL_LONGEST_NAME + 2]; /* whose name has so many bytes or more */
} SlObject;

extern void sl_object_open(SlObject *object, const JsonbValue *value);

/* The member of that name, or NULL. */
extern JsonbValue *sl_object_member(const SlObject *object, const char *name, int length);

/* Places as fields.c writes them, read the first time, when *read is NULL. */
extern const SlPlace *sl_places(const char *text, SlPlace **read);

/* The text at a place, or NULL; *found is set if there is a text or number there, or null. */
extern char *sl_text_at(const SlObject *object, const SlPlace *place, bool *found);

/* The text at the first place that has one, or NULL. */
extern char *sl_first_text(const SlObject *object, const SlPlace *places);

/* A palloc'ed copy of a text without the blanks around it; NULL: nothing is left. */
extern char *sl_trimmed(const char *text, size_t length);

static inline bool
sl_is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* ---- kinds (kind.c) ---- */

/* The kind of a payload, and its name; *type is what it says, or NULL. */
extern const char *sl_payload_kind(const SlObject *payload, char **type, SlEventKind *kind);

/* ---- envelopes (envelope.c) ---- */

/* What the first of an event's envelopes holds, opened if it is a text; NULL: there is none. */
extern JsonbValue *sl_envelope_open(const SlObject *payload);

/* ---- addresses (address.c) ---- */

/* "Name <address>" apart, the first one of several; without brackets it is an address. */
extern void sl_address_split(const char *text, char **name, char **address);

/* The first e-mail address in a text; NULL: there is none. */
extern char *sl_address_within(const char *text);

/* ---- the table (fields.c) ---- */

/* How a value is read. */
typedef enum SlReading
{
	SL_READ_TEXT,
	SL_READ_NUMBER,			/* a whole one, or a text that is one */
	SL_READ_TIME,			/* ISO 8601, without a zone in UTC; or s, ms or us since 1970 */
	SL_READ_ADDRESS,		/* the bare one of "Name <address>", of several the first */
	SL_READ_OTHERS_ADDRESS, /* the same, unless it is the event's from_email */
	SL_READ_NAME			/* the name in "Name <address>" */
} SlReading;

/*
 * Places of one of an event's fields. Of several rows for the same field, and of several places in a
 * row, the first that holds something of use counts. How places are written: see fields.c.
 */
typedef struct SlField
{
	size_t		offset; /* of the field in SlEvent: a char *, SlNumber or SlTime */
	SlReading	reading;
	uint32		kinds; /* a bit for each kind it is for */
	const char *places;
	bool		is_own_message; /* the Message-ID is that of the event's own e-mail */
	SlPlace	   *read;			/* NULL: not yet */
} SlField;

/* Ends with an empty element. */
extern SlField sl_fields[];

#endif /* SL_PAYLOAD_H */
