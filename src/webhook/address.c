/*
 * webhook/address.c
 *		E-mail addresses, in the forms in which payloads have them.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include <ctype.h>

#include "webhook/payload.h"

static bool
is_address_character(char c)
{
	return isalnum((unsigned char) c) || strchr(".!#$%&'*+/=?^_`{|}~-@", c) != NULL;
}

/* How long the first one of several mailboxes is; a comma may as well stand in a name. */
static size_t
first_mailbox(const char *text)
{
	bool   is_quoted = false, has_at = false;
	size_t i;

	for (i = 0; text[i] != '\0'; i++)
		if (is_quoted && text[i] == '\\' && text[i + 1] != '\0')
			i++;
		else if (text[i] == '"')
			is_quoted = !is_quoted;
		else if (!is_quoted && text[i] == '@')
			has_at = true;
		else if (!is_quoted && has_at && (text[i] == ',' || text[i] == ';'))
			break;
	return i;
}

/* The word with an @ in a text; NULL: there is none that could be an address. */
static char *
bare_address(const char *text, size_t length)
{
	const char *end = text + length;
	const char *at = memchr(text, '@', length);
	const char *start = at, *stop = at;

	if (at == NULL)
		return NULL;
	while (start > text && !sl_is_space(start[-1]))
		start--;
	while (stop < end && !sl_is_space(*stop))
		stop++;
	return start < at && stop > at + 1 ? pnstrdup(start, stop - start) : NULL;
}

/* The name before an address: without its quotes and the backslashes in them. */
static char *
bare_name(const char *text, size_t length)
{
	char  *name = sl_trimmed(text, length);
	size_t end = name == NULL ? 0 : strlen(name);
	char  *out = name;

	if (end < 2 || name[0] != '"' || name[end - 1] != '"')
		return name;
	for (size_t i = 1; i < end - 1; i++)
	{
		if (name[i] == '\\' && i + 1 < end - 1)
			i++;
		*out++ = name[i];
	}
	return sl_trimmed(name, out - name);
}

void
sl_address_split(const char *text, char **name, char **address)
{
	char	   *mailbox = pnstrdup(text, first_mailbox(text));
	const char *open = strrchr(mailbox, '<');
	const char *close = open == NULL ? NULL : strchr(open, '>');

	*name = NULL;
	if (close == NULL)
	{
		*address = bare_address(mailbox, strlen(mailbox));
		return;
	}
	*address = bare_address(open + 1, close - open - 1);
	*name = bare_name(mailbox, open - mailbox);
}

char *
sl_address_within(const char *text)
{
	const char *start, *end, *at;

	for (at = strchr(text, '@'); at != NULL; at = strchr(at + 1, '@'))
	{
		for (start = at; start > text && start[-1] != '@' && is_address_character(start[-1]);)
			start--;
		for (end = at + 1; isalnum((unsigned char) *end) || *end == '-' || *end == '.';)
			end++;
		while (end > at && end[-1] == '.')
			end--;
		if (start < at && end > at + 1)
			return pnstrdup(start, end - start);
	}
	return NULL;
}
