/*
 * test/shim/shim.c
 *		Preloaded into a test's server: a resolver, a libcurl and a clock that misbehave when they are told.
 *
 * What it does is switched on by files in the directory that SMARTLEAD_SHIM names; see
 * test/perl/SmartleadShim.pm, which builds it. Without them everything is as ever.
 *
 * Copyright (c) 2026, the smartlead authors
 */
#define _GNU_SOURCE

#include <curl/curl.h>
#include <dlfcn.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#undef curl_easy_setopt
#undef curl_easy_getinfo

#define LOOKUP_LIMIT_S 600

/* The path of a file in the directory; false: there is no directory. */
static int
path_of(const char *name, char *path, size_t size)
{
	const char *directory = getenv("SMARTLEAD_SHIM");

	return directory != NULL && snprintf(path, size, "%s/%s", directory, name) < (int) size;
}

static int
is_on(const char *name)
{
	char path[1024];

	return path_of(name, path, sizeof(path)) && access(path, F_OK) == 0;
}

static void
switch_on(const char *name)
{
	char  path[1024];
	FILE *file = path_of(name, path, sizeof(path)) ? fopen(path, "w") : NULL;

	if (file != NULL)
		fclose(file);
}

/* The function that would have been called; libcurl came with the extension, after us. */
static void *
real(const char *name)
{
	void *found = dlsym(RTLD_NEXT, name);
	void *library = found == NULL ? dlopen("libcurl.so.4", RTLD_LAZY | RTLD_NOLOAD) : NULL;

	if (found == NULL && library != NULL)
		found = dlsym(library, name);
	if (found == NULL)
		abort();
	return found;
}

/* "lookups-end": hosts named slow.… are not found before; "lookup-begun" tells that one is under way. */
int
getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
			struct addrinfo **result)
{
	int (*next)(const char *, const char *, const struct addrinfo *, struct addrinfo **);

	if (host == NULL || strncmp(host, "slow.", 5) != 0)
	{
		*(void **) &next = real("getaddrinfo");
		return next(host, service, hints, result);
	}
	switch_on("lookup-begun");
	for (int i = 0; i < LOOKUP_LIMIT_S * 100 && !is_on("lookups-end"); i++)
		usleep(10000);
	return EAI_NONAME;
}

/* "transfer-times": there are some for transfers that failed before, as newer libcurls have them. */
CURLcode
curl_easy_getinfo(CURL *easy, CURLINFO info, ...)
{
	CURLcode (*next)(CURL *, CURLINFO, ...);
	va_list	 arguments;
	void	*result;
	CURLcode code;

	va_start(arguments, info);
	result = va_arg(arguments, void *);
	va_end(arguments);
	*(void **) &next = real("curl_easy_getinfo");
	code = next(easy, info, result);
	if ((info == CURLINFO_PRETRANSFER_TIME_T || info == CURLINFO_STARTTRANSFER_TIME_T) &&
		*(curl_off_t *) result == 0 && is_on("transfer-times"))
		*(curl_off_t *) result = 1;
	return code;
}

/* "no-timeouts": libcurl's never fire. */
CURLcode
curl_easy_setopt(CURL *easy, CURLoption option, ...)
{
	CURLcode (*next)(CURL *, CURLoption, ...);
	va_list arguments;
	void   *value; /* a long, a pointer or a curl_off_t: all of them are as wide here */

	va_start(arguments, option);
	value = va_arg(arguments, void *);
	va_end(arguments);
	if ((option == CURLOPT_TIMEOUT_MS || option == CURLOPT_CONNECTTIMEOUT_MS) &&
		is_on("no-timeouts"))
		value = (void *) (long) 86400000;
	*(void **) &next = real("curl_easy_setopt");
	return next(easy, option, value);
}

/* "clock": so many seconds are added to the time of day. */
int
gettimeofday(struct timeval *restrict now, void *restrict zone)
{
	static int (*next)(struct timeval *restrict, void *restrict) = NULL;
	char  path[1024];
	FILE *file;
	long  seconds;
	int	  result;

	if (next == NULL)
		*(void **) &next = real("gettimeofday");
	result = next(now, zone);
	if (path_of("clock", path, sizeof(path)) && (file = fopen(path, "r")) != NULL)
	{
		if (fscanf(file, "%ld", &seconds) == 1)
			now->tv_sec += seconds;
		fclose(file);
	}
	return result;
}
