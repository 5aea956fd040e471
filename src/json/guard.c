/*
 * json/guard.c
 *		Is this JSON? Decided before anything of the server sees it, in one pass, without recursion.
 *
 * RFC 8259 to the letter, with UTF-8 checked on the way. Two things are JSON and yet can't be held
 * by jsonb: the escape \u0000, and the escape of half a surrogate pair (which a preview cut in the
 * middle of an emoji holds). A reply must not be lost for such a detail, so both are overwritten by
 * \ufffd, the sign for a character that can't be shown; the length stays.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "json/json.h"

#define MAX_DEPTH 512

/* The text from here to its end. */
typedef struct Text
{
	unsigned char *at;
	unsigned char *end;
} Text;

static bool
next_is(const Text *text, unsigned char c)
{
	return text->at < text->end && *text->at == c;
}

static void
skip_space(Text *text)
{
	while (text->at < text->end &&
		   (*text->at == ' ' || *text->at == '\t' || *text->at == '\n' || *text->at == '\r'))
		text->at++;
}

static bool
is_continuation(const Text *text, int i, unsigned char low, unsigned char high)
{
	return text->at + i < text->end && text->at[i] >= low && text->at[i] <= high;
}

/* One character of more than one byte: neither overlong, nor a surrogate, nor beyond U+10FFFF. */
static bool
take_utf8(Text *text)
{
	unsigned char c = *text->at;
	unsigned char low = 0x80, high = 0xbf;
	int			  length;

	if (c >= 0xc2 && c <= 0xdf)
		length = 2;
	else if (c >= 0xe0 && c <= 0xef)
		length = 3;
	else if (c >= 0xf0 && c <= 0xf4)
		length = 4;
	else
		return false;
	if (c == 0xe0)
		low = 0xa0;
	else if (c == 0xed)
		high = 0x9f;
	else if (c == 0xf0)
		low = 0x90;
	else if (c == 0xf4)
		high = 0x8f;
	if (!is_continuation(text, 1, low, high))
		return false;
	for (int i = 2; i < length; i++)
		if (!is_continuation(text, i, 0x80, 0xbf))
			return false;
	text->at += length;
	return true;
}

/* The four hexadecimal digits at a place, or -1. */
static int
hex4(const Text *text, const unsigned char *at)
{
	int value = 0;

	if (text->end - at < 4)
		return -1;
	for (int i = 0; i < 4; i++)
	{
		unsigned char c = at[i];

		if (c >= '0' && c <= '9')
			c -= '0';
		else if (c >= 'a' && c <= 'f')
			c -= 'a' - 10;
		else if (c >= 'A' && c <= 'F')
			c -= 'A' - 10;
		else
			return -1;
		value = value * 16 + c;
	}
	return value;
}

/* After \u. */
static bool
take_unicode_escape(Text *text)
{
	int code = hex4(text, text->at);
	int second;

	if (code < 0)
		return false;
	if (code >= 0xd800 && code <= 0xdbff && text->end - text->at >= 10 && text->at[4] == '\\' &&
		text->at[5] == 'u')
	{
		second = hex4(text, text->at + 6);
		if (second >= 0xdc00 && second <= 0xdfff)
		{
			text->at += 10;
			return true;
		}
	}
	if (code == 0 || (code >= 0xd800 && code <= 0xdfff))
		memcpy(text->at, "fffd", 4);
	text->at += 4;
	return true;
}

/* After the opening quote. */
static bool
take_string(Text *text)
{
	while (text->at < text->end)
	{
		unsigned char c = *text->at;

		if (c == '"')
		{
			text->at++;
			return true;
		}
		if (c < 0x20)
			return false;
		if (c == '\\')
		{
			if (++text->at == text->end)
				return false;
			c = *text->at++;
			if (c == 'u')
			{
				if (!take_unicode_escape(text))
					return false;
			}
			else if (c == '\0' || strchr("\"\\/bfnrt", c) == NULL)
				return false;
		}
		else if (c < 0x80)
			text->at++;
		else if (!take_utf8(text))
			return false;
	}
	return false;
}

static bool
take_digits(Text *text)
{
	unsigned char *start = text->at;

	while (text->at < text->end && *text->at >= '0' && *text->at <= '9')
		text->at++;
	return text->at > start;
}

static bool
take_number(Text *text)
{
	if (next_is(text, '-'))
		text->at++;
	if (next_is(text, '0'))
		text->at++;
	else if (!take_digits(text))
		return false;
	if (next_is(text, '.'))
	{
		text->at++;
		if (!take_digits(text))
			return false;
	}
	if (next_is(text, 'e') || next_is(text, 'E'))
	{
		text->at++;
		if (next_is(text, '+') || next_is(text, '-'))
			text->at++;
		if (!take_digits(text))
			return false;
	}
	return true;
}

static bool
take_word(Text *text, const char *word)
{
	size_t length = strlen(word);

	if ((size_t) (text->end - text->at) < length || memcmp(text->at, word, length) != 0)
		return false;
	text->at += length;
	return true;
}

static bool
take_scalar(Text *text)
{
	switch (*text->at)
	{
		case '"':
			text->at++;
			return take_string(text);
		case 't':
			return take_word(text, "true");
		case 'f':
			return take_word(text, "false");
		case 'n':
			return take_word(text, "null");
		default:
			return take_number(text);
	}
}

/* A member's name and its colon. */
static bool
take_name(Text *text)
{
	skip_space(text);
	if (!next_is(text, '"'))
		return false;
	text->at++;
	if (!take_string(text))
		return false;
	skip_space(text);
	if (!next_is(text, ':'))
		return false;
	text->at++;
	return true;
}

bool
sl_json_guard(char *body, size_t length, int max_depth)
{
	Text text = {(unsigned char *) body, (unsigned char *) body + length};
	char open[MAX_DEPTH]; /* the brackets that must still be closed */
	int	 depth = 0;

	for (;;)
	{
		/* A value begins here. */
		skip_space(&text);
		if (text.at == text.end)
			return false;
		if (*text.at == '{' || *text.at == '[')
		{
			char close = *text.at == '{' ? '}' : ']';

			text.at++;
			skip_space(&text);
			if (!next_is(&text, close))
			{
				if (depth >= Min(max_depth, MAX_DEPTH))
					return false;
				open[depth++] = close;
				if (close == '}' && !take_name(&text))
					return false;
				continue;
			}
			text.at++;
		}
		else if (!take_scalar(&text))
			return false;

		/* A value has ended: so may what it is in. */
		for (skip_space(&text); depth > 0 && next_is(&text, open[depth - 1]); skip_space(&text))
		{
			text.at++;
			depth--;
		}
		if (depth == 0)
			return text.at == text.end;
		if (!next_is(&text, ','))
			return false;
		text.at++;
		if (open[depth - 1] == '}' && !take_name(&text))
			return false;
	}
}
