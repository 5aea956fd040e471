/*
 * webhook/kind.c
 *		Which kind of event it is: by its name in any spelling, or by what is told.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "webhook/payload.h"

/*
 * Every spelling that is known for a kind; the first is the kind's. Compared without regard to case,
 * blanks, hyphens, underscores and dots.
 */
static const char *const spellings[] = {
	[SL_UNKNOWN_KIND] = "",
	[SL_EMAIL_SENT] = "EMAIL_SENT SENT",
	[SL_FIRST_EMAIL_SENT] = "FIRST_EMAIL_SENT",
	[SL_EMAIL_OPEN] = "EMAIL_OPEN EMAIL_OPENED OPENED",
	[SL_EMAIL_LINK_CLICK] = ("EMAIL_LINK_CLICK EMAIL_LINK_CLICKED EMAIL_CLICK EMAIL_CLICKED "
							 "LINK_CLICKED CLICKED"),
	[SL_EMAIL_REPLY] = "EMAIL_REPLY EMAIL_REPLIED REPLIED LEAD_REPLIED",
	[SL_LEAD_UNSUBSCRIBED] = "LEAD_UNSUBSCRIBED EMAIL_UNSUBSCRIBED EMAIL_UNSUBSCRIBE UNSUBSCRIBED",
	[SL_LEAD_CATEGORY_UPDATED] = "LEAD_CATEGORY_UPDATED",
	[SL_EMAIL_BOUNCE] = "EMAIL_BOUNCE EMAIL_BOUNCED BOUNCED",
	[SL_CAMPAIGN_STATUS_CHANGED] = "CAMPAIGN_STATUS_CHANGED CAMPAIGN_STATUS_CHANGE",
	[SL_UNTRACKED_REPLIES] = "UNTRACKED_REPLIES",
	[SL_MANUAL_STEP_REACHED] = "MANUAL_STEP_REACHED",
	[SL_EMAIL_ACCOUNT_DISCONNECTED] = "EMAIL_ACCOUNT_DISCONNECTED",
	[SL_LINKEDIN_DISCONNECTED] = "LINKEDIN_DISCONNECTED",
	[SL_CAMPAIGN_BOUNCE_THRESHOLD_BREACHED] = "CAMPAIGN_BOUNCE_THRESHOLD_BREACHED"};

StaticAssertDecl(lengthof(spellings) == SL_N_KINDS, "each kind has a spelling");

static const char *const type_places = "event_type event eventType type";

/* Old payloads tell no type, but when the thing happened that they are about. A bounce has time_sent. */
static struct
{
	const char *place;
	SlEventKind kind;
	SlPlace	   *read; /* NULL: not yet */
} marks[] = {{"bounce_message.message_id", SL_EMAIL_BOUNCE},
			 {"bounce_reply_message_id", SL_EMAIL_BOUNCE},
			 {"time_replied", SL_EMAIL_REPLY},
			 {"time_clicked", SL_EMAIL_LINK_CLICK},
			 {"time_opened", SL_EMAIL_OPEN},
			 {"time_sent", SL_EMAIL_SENT}};

static bool
is_separator(char c)
{
	return sl_is_space(c) || c == '_' || c == '-' || c == '.';
}

/* Does the text spell the name, which ends with a blank or the string? */
static bool
spells(const char *text, const char *name)
{
	for (;; text++, name++)
	{
		while (is_separator(*text))
			text++;
		while (*name == '_')
			name++;
		if (*name == '\0' || *name == ' ')
			return *text == '\0';
		if (pg_ascii_toupper((unsigned char) *text) != (unsigned char) *name)
			return false;
	}
}

/* The first spelling of a kind. */
static const char *
kind_name(SlEventKind kind)
{
	static char names[SL_N_KINDS][48];

	if (names[kind][0] == '\0')
		memcpy(names[kind], spellings[kind], strcspn(spellings[kind], " "));
	return kind == SL_UNKNOWN_KIND ? NULL : names[kind];
}

/* An unknown type, as if it were one of Smartlead's: in capitals, with underscores. */
static char *
capitals(const char *text)
{
	char *copy = sl_trimmed(text, strlen(text));

	for (char *c = copy; c != NULL && *c != '\0'; c++)
		*c = is_separator(*c) ? '_' : pg_ascii_toupper((unsigned char) *c);
	return copy;
}

const char *
sl_event_kind(const char *event_type, SlEventKind *kind)
{
	for (*kind = SL_UNKNOWN_KIND + 1; event_type != NULL && *kind < SL_N_KINDS; (*kind)++)
		for (const char *name = spellings[*kind]; name != NULL; name = strchr(name, ' '))
		{
			name += *name == ' ';
			if (spells(event_type, name))
				return kind_name(*kind);
		}
	*kind = SL_UNKNOWN_KIND;
	return event_type == NULL ? NULL : capitals(event_type);
}

/* What a payload is about that tells no type. */
static SlEventKind
marked_kind(const SlObject *payload)
{
	for (int i = 0; i < lengthof(marks); i++)
		if (sl_first_text(payload, sl_places(marks[i].place, &marks[i].read)) != NULL)
			return marks[i].kind;
	return SL_UNKNOWN_KIND;
}

const char *
sl_payload_kind(const SlObject *payload, char **type, SlEventKind *kind)
{
	static SlPlace *places = NULL;
	const char	   *name;

	*type = sl_first_text(payload, sl_places(type_places, &places));
	name = sl_event_kind(*type, kind);
	if (name != NULL)
		return name;
	*kind = marked_kind(payload);
	return kind_name(*kind);
}
