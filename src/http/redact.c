/*
 * http/redact.c
 *		Strikes the API key out of texts that came from outside.
 *
 * The key is in the URL of every request, so a proxy's error page or an echoing service may bring
 * it back.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#include "smartlead.h"

#include <curl/curl.h>

#include "http/redact.h"

static char *
strike_out(const char *text, const char *secret)
{
	StringInfoData clean;
	size_t		   length = strlen(secret);
	const char	  *found;

	initStringInfo(&clean);
	while (length > 0 && (found = strstr(text, secret)) != NULL)
	{
		appendBinaryStringInfo(&clean, text, found - text);
		appendStringInfoString(&clean, "***");
		text = found + length;
	}
	appendStringInfoString(&clean, text);
	return clean.data;
}

char *
sl_redact(const SlConnection *connection, const char *text)
{
	char *clean = strike_out(text, connection->api_key);
	char *encoded = curl_easy_escape(NULL, connection->api_key, 0);

	if (encoded != NULL && strcmp(encoded, connection->api_key) != 0)
		clean = strike_out(clean, encoded);
	curl_free(encoded);
	return clean;
}
