/*
 * json/parse.c
 *		From an answer's text to a cJSON tree.
 *
 * The guard has seen to it that cJSON meets nothing that it would take wrongly. Two things are done
 * around cJSON here. Numbers that a double would change are handed to it as marked strings, and
 * become raw nodes afterwards. And its memory comes from the current memory context, so that
 * PostgreSQL accounts for it and frees it; where an interrupt waits cJSON gets no more memory, gives
 * up, and the interrupt is served out of its frames.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "json/json.h"

/*
 * Before a number in a string. The guard lets no such byte pass, since UTF-8 has none, and no escape
 * of JSON stands for it: so whatever a string holds, it can't begin with it.
 */
#define NUMBER_MARK '\xff'
#define MARKS_LENGTH 3 /* of the mark and two quotes */

/* ---- memory for cJSON ---- */

#define FIRST_BLOCK 4096
#define LARGEST_BLOCK (1024 * 1024)

/* What is allocated is never freed by itself. */
static struct
{
	MemoryContext context;
	char		 *at; /* the rest of a block */
	size_t		  left;
	size_t		  next_block; /* the size of the next one */
	bool		  heeds_interrupts;
	bool		  interrupted;
	bool		  exhausted;
} pool;

static bool
is_interrupted(void)
{
	return InterruptPending && InterruptHoldoffCount == 0 && QueryCancelHoldoffCount == 0 &&
		   CritSectionCount == 0;
}

static char *
allocate_block(size_t size)
{
	char *block =
		MemoryContextAllocExtended(pool.context, size, MCXT_ALLOC_HUGE | MCXT_ALLOC_NO_OOM);

	pool.exhausted = block == NULL;
	return block;
}

/* Called by cJSON, out of whose frames nothing may be thrown. */
static void *
pool_allocate(size_t size)
{
	char *piece;

	pool.interrupted = pool.heeds_interrupts && is_interrupted();
	if (pool.interrupted)
		return NULL;
	size = MAXALIGN(size);
	if (size > pool.next_block / 8)
		return allocate_block(size);
	if (size > pool.left)
	{
		pool.at = allocate_block(pool.next_block);
		pool.left = pool.at != NULL ? pool.next_block : 0;
		pool.next_block = Min(pool.next_block * 2, LARGEST_BLOCK);
	}
	if (pool.at == NULL)
		return NULL;
	piece = pool.at;
	pool.at += size;
	pool.left -= size;
	return piece;
}

static void
pool_free(void *piece)
{
}

/* From here to pool_close(), cJSON allocates in that context. Nothing may throw between. */
static void
pool_open(MemoryContext context, bool heeds_interrupts)
{
	cJSON_Hooks hooks = {pool_allocate, pool_free};

	memset(&pool, 0, sizeof(pool));
	pool.context = context;
	pool.next_block = FIRST_BLOCK;
	pool.heeds_interrupts = heeds_interrupts;
	cJSON_InitHooks(&hooks);
}

static void
pool_close(void)
{
	cJSON_InitHooks(NULL);
}

/* ---- numbers ---- */

static const char *
end_of_string(const char *at)
{
	for (at++; *at != '"'; at++)
		if (*at == '\\')
			at++;
	return at + 1;
}

static bool
is_kept_as_text(const char *number, size_t length)
{
	return length > SL_JSON_EXACT_LENGTH || strcspn(number, ".eE") < length;
}

/* The same text with each number that is kept as text in marks. Freed by the caller. */
static char *
mark_numbers(const char *text, size_t *length, size_t numbers)
{
	const char *end = text + *length;
	char	   *marked =
		MemoryContextAllocHuge(CurrentMemoryContext, *length + MARKS_LENGTH * numbers + 1);
	char *out = marked;

	while (text < end)
	{
		const char *start = text;
		bool		is_number = *text == '-' || (*text >= '0' && *text <= '9');
		size_t		n;

		if (is_number)
			text += strspn(text, "+-.0123456789eE");
		else
			text = *text == '"' ? end_of_string(text) : text + 1;
		n = text - start;
		is_number = is_number && is_kept_as_text(start, n);
		if (is_number)
		{
			*out++ = '"';
			*out++ = NUMBER_MARK;
		}
		memcpy(out, start, n);
		out += n;
		if (is_number)
			*out++ = '"';
	}
	*out = '\0';
	*length = out - marked;
	return marked;
}

/* Turns the marked strings back into numbers. */
static void
unmark_numbers(cJSON *node)
{
	for (; node != NULL; node = node->next)
	{
		CHECK_FOR_INTERRUPTS();
		if (node->child != NULL)
			unmark_numbers(node->child);
		if (cJSON_IsString(node) && node->valuestring[0] == NUMBER_MARK)
		{
			node->valuestring++;
			node->type = (node->type & ~0xFF) | cJSON_Raw;
		}
	}
}

/* ---- the tree ---- */

/* One attempt; NULL when an interrupt came in between, or memory is short. */
static cJSON *
parse_once(MemoryContext context, const char *text, size_t length, bool heeds_interrupts)
{
	cJSON *root;

	pool_open(context, heeds_interrupts);
	root = cJSON_ParseWithLength(text, length);
	pool_close();
	return root;
}

/* An interrupt may turn out to be none that ends the call: then it is done again, deaf to them. */
static cJSON *
parse_guarded(const char *text, size_t length)
{
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "smartlead JSON", ALLOCSET_DEFAULT_SIZES);
	cJSON *root = parse_once(context, text, length, true);

	if (root == NULL && pool.interrupted)
	{
		CHECK_FOR_INTERRUPTS();
		MemoryContextReset(context);
		root = parse_once(context, text, length, false);
	}
	if (root == NULL && pool.exhausted)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory"),
						errdetail("It was for an answer of %zu bytes.", length)));
	return root;
}

static const char *
sentence(const SlJsonCheck *check)
{
	switch (check->fault)
	{
		case SL_JSON_CUT:
			return "It ends before the JSON is complete.";
		case SL_JSON_BAD_UTF8:
			return "It is not valid UTF-8 text.";
		case SL_JSON_TOO_DEEP:
			return psprintf("It is nested more than %d levels deep.", SL_JSON_MAX_DEPTH);
		case SL_JSON_TOO_MANY:
			return "It holds too many values for its length.";
		case SL_JSON_NUMBER:
			return psprintf("The number %s is out of range.", sl_json_number_shown(check->number));
		default:
			return "It is not valid JSON.";
	}
}

cJSON *
sl_json_parse(char *text, size_t length, const char **why)
{
	SlJsonCheck check = {.interruptible = true};
	char	   *marked = NULL;
	cJSON	   *root;

	if (!sl_json_guard(text, length, &check))
	{
		*why = sentence(&check);
		return NULL;
	}
	if (check.texts > 0)
		text = marked = mark_numbers(text, &length, check.texts);
	root = parse_guarded(text, length);
	if (marked != NULL)
		pfree(marked);
	if (root == NULL)
		*why = "It is not valid JSON.";
	else if (check.texts > 0)
		unmark_numbers(root);
	return root;
}

void
sl_json_set(cJSON *object, const char *name, const char *text)
{
	cJSON *member = NULL;

	cJSON_DetachItemFromObjectCaseSensitive(object, name);
	if (text == NULL)
		return;
	pool_open(CurrentMemoryContext, false);
	member = cJSON_AddStringToObject(object, name, text);
	pool_close();
	if (member == NULL)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
}
