/*
 * webhook/fields.h
 *		What the fields of a payload mean, and how they are read: fields.c has the table, payload.c the
 *		reader.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#ifndef SL_FIELDS_H
#define SL_FIELDS_H

#include "webhook/webhook.h"

/* A kind of event, with every spelling that is known for it, by blanks. The first is the kind's. */
typedef struct SlKindSpelling
{
	SlEventKind kind;
	const char *spellings;
} SlKindSpelling;

/* What a payload without a type is about, if the place holds something. */
typedef struct SlKindMark
{
	const char *place;
	SlEventKind kind;
} SlKindMark;

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
} SlField;

/* Each of these lists ends with an empty element. */
extern const SlKindSpelling sl_kind_spellings[];
extern const SlKindMark		sl_kind_marks[];
extern const char *const	sl_type_places;
extern const char *const	sl_secret_places;
extern const char *const	sl_envelopes;
extern const char *const	sl_base64_mark;
extern const SlField		sl_fields[];

#endif /* SL_FIELDS_H */
