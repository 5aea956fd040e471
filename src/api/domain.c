/*
 * api/domain.c
 *		What may stand on the block list: a domain or an e-mail address.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include <ctype.h>

#include "mb/pg_wchar.h"

#include "api/domain.h"

#define MAX_LABEL 63
#define MAX_DOMAIN 253
#define MAX_LOCAL_PART 64

static char *
to_utf8(const char *text)
{
	return pg_server_to_any(text, strlen(text), PG_UTF8);
}

/*
 * Letters of other alphabets, as far as can be told without their tables: no control characters,
 * spaces, punctuation and symbols, such as a copied text brings along unseen.
 */
static bool
may_be_letter(pg_wchar c)
{
	return c >= 0xAA && c != 0xAB && c != 0xAD && !(c >= 0x2000 && c <= 0x2BFF) &&
		   !(c >= 0x3000 && c <= 0x3004) && !(c >= 0xE000 && c <= 0xF8FF) &&
		   !(c >= 0xFE00 && c <= 0xFE0F) && c != 0xFEFF && !(c >= 0xFF00 && c <= 0xFF20);
}

/* Are these bytes letters, digits, or characters of the given ones? */
static bool
is_word(const char *at, const char *end, const char *others)
{
	while (at < end)
	{
		unsigned char c = *at;

		if (c < 0x80 && !isalnum(c) && (c == '\0' || strchr(others, c) == NULL))
			return false;
		if (c >= 0x80 && !may_be_letter(utf8_to_unicode((const unsigned char *) at)))
			return false;
		at += pg_utf_mblen((const unsigned char *) at);
	}
	return true;
}

static bool
is_label(const char *at, const char *end)
{
	return end > at && end - at <= MAX_LABEL && *at != '-' && end[-1] != '-' &&
		   is_word(at, end, "-");
}

/* Two labels at least; the last one is no number, as it is in an IP address. */
static bool
is_domain(const char *text)
{
	const char *label = text;
	const char *dot;
	int			n_dots = 0;

	if (strlen(text) > MAX_DOMAIN)
		return false;
	for (; (dot = strchr(label, '.')) != NULL; label = dot + 1, n_dots++)
		if (!is_label(label, dot))
			return false;
	return n_dots > 0 && is_label(label, label + strlen(label)) &&
		   strspn(label, "0123456789") < strlen(label);
}

/* What stands before the @ of an address, unquoted: words joined by dots. */
static bool
is_local_part(const char *at, const char *end)
{
	if (at == end || end - at > MAX_LOCAL_PART || *at == '.' || end[-1] == '.')
		return false;
	for (const char *c = at; c + 1 < end; c++)
		if (c[0] == '.' && c[1] == '.')
			return false;
	return is_word(at, end, ".!#$%&'*+/=?^_`{|}~-");
}

char *
sl_domain_read(const char *text)
{
	char	   *entry = pstrdup(text);
	size_t		length = strlen(entry);
	const char *utf8;
	const char *at;

	if (length > 1 && entry[length - 1] == '.')
		entry[length - 1] = '\0';
	utf8 = to_utf8(entry);
	at = strrchr(utf8, '@');
	if (!is_domain(at != NULL ? at + 1 : utf8) || (at != NULL && !is_local_part(utf8, at)))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("\"%s\" is neither a domain nor an e-mail address", text),
						errhint("Give a domain such as rival.example, without \"http://\" and "
								"path, or a whole address.")));
	return entry;
}
