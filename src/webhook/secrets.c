/*
 * webhook/secrets.c
 *		What a payload tells that nobody must read: left out before it is stored.
 *
 * Classic events carry webhook_url, which ends in the token of the very webhook, and secret_key, by
 * which the sender is known. Who can read both can forge events. So these members are left out, at
 * every level; where they stand in a text that holds JSON, or in a body that no jsonb can hold, their
 * values are overwritten by stars, and so is a valid token of ours, wherever it stands.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "miscadmin.h"

#include "webhook/webhook.h"

/* Names in lower case; compared without regard to case and underscores. */
static const char *const secret_names[] = {"webhookurl", "secretkey"};

/* A run of token characters that is longer than this is no escaped slash and a token. */
#define MAX_RUN 64

/* A part of a text. */
typedef struct Span
{
	size_t start;
	size_t length;
	bool   is_bare; /* no string: a number, an array, an object */
} Span;

static bool
is_token_character(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
		   c == '_';
}

/* How many bytes of the text are a spelling of the name; 0: it doesn't begin with one. */
static size_t
match_name(const char *text, size_t length, const char *name)
{
	size_t i;

	for (i = 0; i < length && *name != '\0'; i++)
	{
		if (text[i] == '_')
			continue;
		if (pg_ascii_tolower((unsigned char) text[i]) != (unsigned char) *name)
			return 0;
		name++;
	}
	return *name == '\0' ? i : 0;
}

static size_t
match_secret_name(const char *text, size_t length)
{
	size_t matched = 0;

	for (int i = 0; i < lengthof(secret_names) && matched == 0; i++)
		matched = match_name(text, length, secret_names[i]);
	return matched;
}

/* ---- in texts ---- */

/* How many backslashes stand before a place: one in JSON within a JSON text, three one deeper. */
static size_t
backslashes_before(const char *text, size_t at)
{
	size_t n = 0;

	while (n < at && text[at - n - 1] == '\\')
		n++;
	return n;
}

/* At a quote, which n backslashes escape: the place after it. 0: there is none. */
static size_t
skip_quote(const char *text, size_t length, size_t at, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (at >= length || text[at++] != '\\')
			return 0;
	return at < length && text[at] == '"' ? at + 1 : 0;
}

static size_t
skip_space(const char *text, size_t length, size_t at)
{
	while (at < length && strchr(" \t\r\n", text[at]) != NULL && text[at] != '\0')
		at++;
	return at;
}

/* Where the string ends in which a place is: at the quote that as many backslashes escape. */
static size_t
string_end(const char *text, size_t length, size_t at, size_t n)
{
	for (size_t start = at; at < length; at++)
	{
		size_t before;

		if (text[at] != '"')
			continue;
		before = Min(backslashes_before(text, at), at - start);
		if (n == 0 ? before % 2 == 0 : before <= n)
			return at - Min(before, n);
	}
	return length;
}

/* Where the array or object ends that begins at a place; its quotes are escaped by as many backslashes. */
static size_t
container_end(const char *text, size_t length, size_t at, size_t n)
{
	int depth = 0;

	while (at < length)
	{
		size_t inside = skip_quote(text, length, at, n);

		if (inside != 0)
		{
			at = skip_quote(text, length, string_end(text, length, inside, n), n);
			if (at == 0)
				return length;
			continue;
		}
		if (text[at] == '[' || text[at] == '{')
			depth++;
		else if ((text[at] == ']' || text[at] == '}') && --depth == 0)
			return at + 1;
		at++;
	}
	return length;
}

/* The value of a member whose name begins after the quote at this place, if that is a secret one. */
static bool
secret_value(const char *text, size_t length, size_t quote, Span *value)
{
	size_t n = backslashes_before(text, quote);
	size_t at = quote + 1;
	size_t name = match_secret_name(text + at, length - at);
	size_t inside;

	if (name == 0 || (at = skip_quote(text, length, at + name, n)) == 0)
		return false;
	at = skip_space(text, length, at);
	if (at >= length || text[at] != ':')
		return false;
	at = skip_space(text, length, at + 1);
	inside = skip_quote(text, length, at, n);
	value->is_bare = inside == 0;
	if (inside != 0)
	{
		value->start = inside;
		value->length = string_end(text, length, inside, n) - inside;
		return true;
	}
	value->start = at;
	if (at < length && (text[at] == '[' || text[at] == '{'))
		at = container_end(text, length, at, n);
	while (at < length && text[at] != '\0' && strchr("+-.0123456789eE", text[at]) != NULL)
		at++;
	value->length = at - value->start;
	return value->length > 0;
}

/* Do the last characters of a run make a token of a webhook of ours? */
static bool
ends_in_token(const char *text, size_t length)
{
	uint8 hash[SL_HASH_LENGTH];

	return length >= SL_TOKEN_LENGTH && length <= MAX_RUN &&
		   sl_token_hash(text + length - SL_TOKEN_LENGTH, SL_TOKEN_LENGTH, hash) &&
		   sl_token_find(hash, DT_NOBEGIN) != NULL;
}

/* The text itself, or a copy of it once there is something to overwrite. */
typedef struct Cover
{
	const char *text;
	size_t		length;
	char	   *covered; /* NULL: nothing yet */
} Cover;

/* The length stays, and what was JSON is JSON still. */
static void
overwrite(Cover *cover, const Span *span)
{
	if (cover->covered == NULL)
	{
		cover->covered = palloc(cover->length);
		memcpy(cover->covered, cover->text, cover->length);
	}
	memset(cover->covered + span->start, span->is_bare ? ' ' : '*', span->length);
	if (span->is_bare)
		cover->covered[span->start] = '0';
}

static void
cover_values(Cover *cover)
{
	const char *end = cover->text + cover->length;
	const char *at = cover->text;
	Span		value;

	while (at < end && (at = memchr(at, '"', end - at)) != NULL)
	{
		if (secret_value(cover->text, cover->length, at - cover->text, &value))
		{
			overwrite(cover, &value);
			at = cover->text + value.start + value.length;
		}
		else
			at++;
	}
}

/* What is as long as a token can't lie between two steps of that length. */
static void
cover_tokens(Cover *cover)
{
	const char *text = cover->text;

	for (size_t at = SL_TOKEN_LENGTH - 1; at < cover->length; at += SL_TOKEN_LENGTH)
	{
		size_t start = at, end = at;

		if (!is_token_character(text[at]))
			continue;
		while (start > 0 && is_token_character(text[start - 1]))
			start--;
		while (end < cover->length && is_token_character(text[end]))
			end++;
		if (ends_in_token(text + start, end - start))
		{
			Span token = {end - SL_TOKEN_LENGTH, SL_TOKEN_LENGTH, false};

			overwrite(cover, &token);
		}
		if (end > at)
			at = end - 1;
	}
}

char *
sl_secrets_cover(const char *text, size_t length)
{
	Cover cover = {text, length, NULL};

	cover_values(&cover);
	cover_tokens(&cover);
	return cover.covered;
}

/* ---- in trees ---- */

static bool
is_secret(const JsonbValue *name)
{
	size_t length = name->val.string.len;

	return length > 0 && match_secret_name(name->val.string.val, length) == length;
}

void
sl_secrets_leave_out(JsonbValue *value)
{
	int	  kept = 0;
	char *covered;

	check_stack_depth();
	switch (value->type)
	{
		case jbvObject:
			for (int i = 0; i < value->val.object.nPairs; i++)
			{
				JsonbPair *pair = &value->val.object.pairs[i];

				if (is_secret(&pair->key))
					continue;
				sl_secrets_leave_out(&pair->value);
				value->val.object.pairs[kept++] = *pair;
			}
			value->val.object.nPairs = kept;
			break;
		case jbvArray:
			for (int i = 0; i < value->val.array.nElems; i++)
				sl_secrets_leave_out(&value->val.array.elems[i]);
			break;
		case jbvString:
			covered = sl_secrets_cover(value->val.string.val, value->val.string.len);
			if (covered != NULL)
				value->val.string.val = covered;
			break;
		default:
			break;
	}
}
