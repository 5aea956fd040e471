/*
 * json/parse.c
 *		From untrusted text to a cJSON tree.
 *
 * cJSON alone would accept what PostgreSQL can't hold (NUL characters, bad UTF-8), would follow a
 * nesting bomb a thousand levels down, and would round long numbers. One pass over the text, before
 * cJSON sees it, refuses the former and marks the latter.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/memutils.h"

#include "json/json.h"

#define MAX_DEPTH 64

/* A double is exact up to this many digits. */
#define EXACT_DIGITS 15

/*
 * A number with more digits is handed to cJSON as a string behind this mark and becomes a raw node
 * afterwards. JSON forbids the bare character inside strings, and the pass refuses it there.
 */
#define NUMBER_MARK '\001'

typedef struct TextScan
{
	const char	  *text;
	size_t		   length;
	size_t		   at;
	int			   depth;
	size_t		   copied; /* up to here the text is in "marked" */
	StringInfoData marked;
	bool		   any_marked;
	const char	  *why;
} TextScan;

static void
scan_string(TextScan *scan)
{
	for (scan->at++; scan->at < scan->length; scan->at++)
	{
		unsigned char c = scan->text[scan->at];

		if (c == '"')
			return;
		if (c < ' ')
		{
			scan->why = "A string holds a control character.";
			return;
		}
		if (c != '\\')
			continue;
		scan->at++;
		if (scan->length - scan->at >= 5 && memcmp(scan->text + scan->at, "u0000", 5) == 0)
		{
			scan->why = "A string holds the character \\u0000, which PostgreSQL can't store.";
			return;
		}
	}
	scan->why = "It ends within a string.";
}

static bool
is_number_character(char c)
{
	return (c >= '0' && c <= '9') || c == '-' || c == '+' || c == '.' || c == 'e' || c == 'E';
}

static void
scan_number(TextScan *scan)
{
	size_t start = scan->at;
	int	   digits = 0;

	while (scan->at < scan->length && is_number_character(scan->text[scan->at]))
	{
		if (scan->text[scan->at] >= '0' && scan->text[scan->at] <= '9')
			digits++;
		scan->at++;
	}
	if (digits > EXACT_DIGITS)
	{
		if (!scan->any_marked)
			initStringInfo(&scan->marked);
		scan->any_marked = true;
		appendBinaryStringInfo(&scan->marked, scan->text + scan->copied, start - scan->copied);
		appendStringInfo(&scan->marked, "\"%c%.*s\"", NUMBER_MARK, (int) (scan->at - start),
						 scan->text + start);
		scan->copied = scan->at;
	}
	scan->at--; /* the caller steps on */
}

static void
scan_text(TextScan *scan)
{
	for (; scan->at < scan->length && scan->why == NULL; scan->at++)
	{
		char c = scan->text[scan->at];

		if (c == '"')
			scan_string(scan);
		else if (c == '-' || (c >= '0' && c <= '9'))
			scan_number(scan);
		else if (c == '{' || c == '[')
		{
			if (++scan->depth > MAX_DEPTH)
				scan->why = "It is nested more than 64 levels deep.";
		}
		else if (c == '}' || c == ']')
			scan->depth--;
	}
}

/* Is this a number by JSON's grammar? Raw nodes are printed as they are, so it must be one. */
static bool
is_json_number(const char *text)
{
	if (*text == '-')
		text++;
	if (*text == '0')
		text++;
	else if (*text >= '1' && *text <= '9')
		text += strspn(text, "0123456789");
	else
		return false;
	if (*text == '.')
	{
		size_t digits = strspn(++text, "0123456789");

		if (digits == 0)
			return false;
		text += digits;
	}
	if (*text == 'e' || *text == 'E')
	{
		text++;
		if (*text == '+' || *text == '-')
			text++;
		if (strspn(text, "0123456789") == 0)
			return false;
		text += strspn(text, "0123456789");
	}
	return *text == '\0';
}

/* Turns the marked strings back into numbers. False: one of them is none. */
static bool
unmark_numbers(cJSON *node)
{
	for (; node != NULL; node = node->next)
	{
		if (node->child != NULL && !unmark_numbers(node->child))
			return false;
		if (cJSON_IsString(node) && node->valuestring[0] == NUMBER_MARK)
		{
			memmove(node->valuestring, node->valuestring + 1, strlen(node->valuestring));
			if (!is_json_number(node->valuestring))
				return false;
			node->type = (node->type & ~0xFF) | cJSON_Raw;
		}
	}
	return true;
}

static void
free_tree(void *arg)
{
	cJSON_Delete(*(cJSON **) arg);
}

/* A place for a tree that is freed with the current memory context, whatever ends it. */
static cJSON **
make_owner(void)
{
	cJSON				 **root = palloc0(sizeof(cJSON *));
	MemoryContextCallback *callback = palloc0(sizeof(MemoryContextCallback));

	callback->func = free_tree;
	callback->arg = root;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, callback);
	return root;
}

/* cJSON stops behind the first value; anything but white space there means that this is not JSON. */
static cJSON *
parse_all(const char *text, size_t length)
{
	const char *end = NULL;
	cJSON	   *root = cJSON_ParseWithLengthOpts(text, length, &end, false);

	if (root == NULL)
		return NULL;
	while (end < text + length && (*end == ' ' || *end == '\t' || *end == '\n' || *end == '\r'))
		end++;
	if (end < text + length)
	{
		cJSON_Delete(root);
		return NULL;
	}
	return root;
}

cJSON *
sl_json_parse(const char *text, size_t length, const char **why)
{
	TextScan scan = {.text = text, .length = length};
	cJSON  **root;

	if (memchr(text, '\0', length) != NULL || !pg_verify_mbstr(PG_UTF8, text, (int) length, true))
		scan.why = "It is not valid UTF-8 text.";
	else
		scan_text(&scan);
	*why = scan.why;
	if (scan.why != NULL)
		return NULL;
	if (scan.any_marked)
	{
		appendBinaryStringInfo(&scan.marked, text + scan.copied, length - scan.copied);
		text = scan.marked.data;
		length = scan.marked.len;
	}
	root = make_owner();
	*root = parse_all(text, length);
	if (*root == NULL || (scan.any_marked && !unmark_numbers(*root)))
	{
		*why = "It is not valid JSON.";
		return NULL;
	}
	return *root;
}
