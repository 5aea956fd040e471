/*
 * webhook/payload.c
 *		From an event's payload to its columns, as the table in fields.c says.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "webhook/payload.h"

/* A whole number from a number or from digits in a string; "7.0" is one. */
static bool
whole_number(const char *text, int64 *number)
{
	char *end;

	errno = 0;
	*number = strtoll(text, &end, 10);
	if (errno != 0 || end == text)
		return false;
	if (*end == '.')
		end += 1 + strspn(end + 1, "0");
	while (sl_is_space(*end))
		end++;
	return *end == '\0';
}

static bool
read_time(const char *text, TimestampTz *when)
{
	char *bare = sl_trimmed(text, strlen(text));

	if (bare == NULL)
		return false;
	return sl_json_unix_time(bare, when) || (sl_json_time(bare, when) && IS_VALID_TIMESTAMP(*when));
}

/* Keeps what a text says as a field of the event. False: it is nothing of the sort. */
static bool
keep(SlEvent *event, const SlField *field, char *text)
{
	void *where = (char *) event + field->offset;
	char *name, *address;

	switch (field->reading)
	{
		case SL_READ_NUMBER:
			return ((SlNumber *) where)->given = whole_number(text, &((SlNumber *) where)->value);
		case SL_READ_TIME:
			return ((SlTime *) where)->given = read_time(text, &((SlTime *) where)->value);
		case SL_READ_ADDRESS:
		case SL_READ_OTHERS_ADDRESS:
			sl_address_split(text, &name, &address);
			if (field->reading == SL_READ_OTHERS_ADDRESS && address != NULL &&
				event->from_email != NULL && pg_strcasecmp(address, event->from_email) == 0)
				address = NULL;
			*(char **) where = address;
			return address != NULL;
		case SL_READ_NAME:
			sl_address_split(text, &name, &address);
			*(char **) where = name;
			return name != NULL;
		default:
			*(char **) where = text;
			return true;
	}
}

/* Tries a field's places, each in both objects. True: that was the last word on it. */
static bool
read_field(const SlObject *objects, int n_objects, SlEvent *event, SlField *field)
{
	const SlPlace *place = sl_places(field->places, &field->read);

	for (; place != NULL; place = place->next)
		for (int i = 0; i < n_objects; i++)
		{
			bool  found = false;
			char *text = sl_text_at(&objects[i], place, &found);

			if (text != NULL && place->mark != '~' && keep(event, field, text))
				return true;
			if (found && text == NULL && (place->mark == '!' || place->mark == '~'))
				return true;
		}
	return false;
}

static void
read_fields(const JsonbValue *payload, SlEvent *event)
{
	SlObject		  objects[2]; /* the payload, and what is in an envelope of it */
	const JsonbValue *inner;
	size_t			  last_offset = 0;
	bool			  is_done = false;

	sl_object_open(&objects[0], payload);
	inner = sl_envelope_open(&objects[0]);
	if (inner != NULL)
		sl_object_open(&objects[1], inner);
	event->kind_name = sl_payload_kind(&objects[0], &event->event_type, &event->kind);
	for (SlField *field = sl_fields; field->places != NULL; field++)
	{
		if (is_done && field->offset == last_offset)
			continue;
		last_offset = field->offset;
		is_done = (field->kinds & (UINT32_C(1) << event->kind)) != 0 &&
				  read_field(objects, inner == NULL ? 1 : 2, event, field);
		if (is_done && field->is_own_message)
			event->has_own_message = true;
	}
	if (event->sequence_number.value != (int32) event->sequence_number.value)
		event->sequence_number.given = false;
}

void
sl_payload_read(const SlPayload *payload, SlEvent *event)
{
	memset(event, 0, sizeof(SlEvent));
	event->secret_key = payload->secret_key;
	sl_secrets_leave_out(payload->value);
	if (payload->value->type == jbvObject)
		read_fields(payload->value, event);
	event->payload = JsonbValueToJsonb(payload->value);
}
