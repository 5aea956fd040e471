/*
 * json/guard.c
 *		May this text become values? Decided before cJSON or the server sees it, in one pass, without recursion.
 *
 * The policy is told in json.h. It is carried out here alone, so that an answer and a webhook that
 * hold the same text become the same values.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "miscadmin.h"

#include "json/json.h"

/*
 * So many values any text may hold, and one more for so many bytes of it, but never more than the
 * last. The rows of Smartlead have 25 bytes or more for each value; "[0,0,0" has two, and would take
 * a hundred times its length as a tree.
 */
#define FREE_NODES 250000
#define BYTES_PER_NODE 5
#define MAX_NODES 5000000

/*
 * An exponent is digits that aren't in the text, and yet are in a jsonb that is printed. So many of
 * them count as one value.
 */
#define DIGITS_PER_NODE 16

/* A double's first digit stands in one of these places, counted from the point. */
#define MIN_MAGNITUDE (-324)
#define MAX_MAGNITUDE 308
#define MAX_NUMBER_LENGTH 1000

/* Numbers shorter than that and without an exponent are within these bounds. */
#define SHORT_NUMBER 300

/* An exponent beyond this is as good as this. */
#define EXPONENT_ENOUGH 100000

/* The text from here to its end. */
typedef struct Text
{
	unsigned char *at;
	unsigned char *end;
	size_t		   nodes_left;
	SlJsonCheck	  *check;
} Text;

static bool
fail(Text *text, SlJsonFault fault)
{
	text->check->fault = fault;
	return false;
}

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
			return fail(text, SL_JSON_BAD_UTF8);
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

/* After the "e". How many digits it adds to those in the text. */
static bool
take_exponent(Text *text, int *exponent)
{
	if (next_is(text, '+') || next_is(text, '-'))
		text->at++;
	for (const unsigned char *digit = text->at; digit < text->end; digit++)
	{
		if (*digit < '0' || *digit > '9')
			break;
		*exponent = Min(*exponent * 10 + (*digit - '0'), EXPONENT_ENOUGH);
	}
	return take_digits(text);
}

static bool
count_node(Text *text, size_t weight)
{
	if (text->nodes_left < weight)
		return fail(text, SL_JSON_TOO_MANY);
	text->nodes_left -= weight;
	return true;
}

static bool
take_number(Text *text)
{
	const char *start = (const char *) text->at;
	bool		whole = true;
	int			exponent = 0;
	size_t		length;

	if (next_is(text, '-'))
		text->at++;
	if (next_is(text, '0'))
		text->at++;
	else if (!take_digits(text))
		return false;
	if (next_is(text, '.'))
	{
		whole = false;
		text->at++;
		if (!take_digits(text))
			return false;
	}
	if (next_is(text, 'e') || next_is(text, 'E'))
	{
		whole = false;
		text->at++;
		if (!take_exponent(text, &exponent))
			return false;
	}
	length = (const char *) text->at - start;
	if (!whole || length > SL_JSON_EXACT_LENGTH)
		text->check->texts++;
	if ((exponent != 0 || length > SHORT_NUMBER) && !sl_json_number_fits(start, length))
	{
		if (text->check->number == NULL)
			text->check->number = start;
		return true;
	}
	return count_node(text, exponent / DIGITS_PER_NODE);
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

/* A byte order mark is no JSON, but some put it before theirs. */
static void
blank_byte_order_mark(char *body, size_t length)
{
	if (length >= 3 && memcmp(body, "\xef\xbb\xbf", 3) == 0)
		memset(body, ' ', 3);
}

/* False: it is not JSON, or the fault is told. */
static bool
take_text(Text *text)
{
	char open[SL_JSON_MAX_DEPTH]; /* the brackets that must still be closed */
	int	 depth = 0;

	for (;;)
	{
		/* A value begins here. */
		skip_space(text);
		if (text->at == text->end || !count_node(text, 1))
			return false;
		if (text->check->interruptible)
			CHECK_FOR_INTERRUPTS();
		if (*text->at == '{' || *text->at == '[')
		{
			char close = *text->at == '{' ? '}' : ']';

			if (depth == SL_JSON_MAX_DEPTH)
				return fail(text, SL_JSON_TOO_DEEP);
			text->at++;
			skip_space(text);
			if (!next_is(text, close))
			{
				open[depth++] = close;
				if (close == '}' && !take_name(text))
					return false;
				continue;
			}
			text->at++;
		}
		else if (!take_scalar(text))
			return false;

		/* A value has ended: so may what it is in. */
		for (skip_space(text); depth > 0 && next_is(text, open[depth - 1]); skip_space(text))
		{
			text->at++;
			depth--;
		}
		if (depth == 0)
			return text->at == text->end;
		if (!next_is(text, ','))
			return false;
		text->at++;
		if (open[depth - 1] == '}' && !take_name(text))
			return false;
	}
}

bool
sl_json_guard(char *body, size_t length, SlJsonCheck *check)
{
	Text text = {(unsigned char *) body, (unsigned char *) body + length};

	text.nodes_left = Min(FREE_NODES + length / BYTES_PER_NODE, MAX_NODES);
	text.check = check;
	check->fault = SL_JSON_FINE;
	check->number = NULL;
	check->texts = 0;
	blank_byte_order_mark(body, length);
	if (!take_text(&text) && check->fault == SL_JSON_FINE)
		check->fault = text.at == text.end ? SL_JSON_CUT : SL_JSON_MALFORMED;
	else if (check->fault == SL_JSON_FINE && check->number != NULL)
		check->fault = SL_JSON_NUMBER;
	return check->fault == SL_JSON_FINE;
}

/* Where the first digit that is not zero stands: 0 for units, -1 for tenths. Of zero, 0. */
static int
magnitude_of(const char *digits, size_t length)
{
	size_t whole = 0;
	int	   magnitude = 0, exponent = 0;
	bool   found = false, is_small;
	size_t i;

	while (whole < length && digits[whole] >= '0' && digits[whole] <= '9')
		whole++;
	for (i = 0; i < length && digits[i] != 'e' && digits[i] != 'E'; i++)
		if (!found && digits[i] >= '1' && digits[i] <= '9')
		{
			found = true;
			magnitude = i < whole ? (int) (whole - 1 - i) : (int) whole - (int) i;
		}
	if (i == length)
		return magnitude;
	is_small = digits[++i] == '-';
	for (i += digits[i] == '-' || digits[i] == '+'; i < length; i++)
		exponent = Min(exponent * 10 + (digits[i] - '0'), EXPONENT_ENOUGH);
	return magnitude + (is_small ? -exponent : exponent);
}

bool
sl_json_number_fits(const char *number, size_t length)
{
	int magnitude;

	if (length > MAX_NUMBER_LENGTH)
		return false;
	if (*number == '-')
		number++, length--;
	magnitude = magnitude_of(number, length);
	return magnitude >= MIN_MAGNITUDE && magnitude <= MAX_MAGNITUDE;
}

/* Is this text, as a whole, a number by JSON's grammar, and does it fit? */
bool
sl_json_is_number_text(const char *text)
{
	SlJsonCheck check = {0};
	Text		number = {(unsigned char *) text, (unsigned char *) text + strlen(text)};

	number.nodes_left = MAX_NODES;
	number.check = &check;
	return take_number(&number) && number.at == number.end && check.number == NULL;
}
