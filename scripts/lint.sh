#!/usr/bin/env bash
# make lint: cppcheck and clang-tidy over the sources, by the profiles that are committed: what is left out is in
# .clang-tidy, with the reason, and here. FILES="src/http/retry.c" looks at some.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

scripts/deps.sh build lint
find_postgres
$MAKE -s PG_CONFIG="$pg_config" build/generated/endpoint_table.h
mapfile -t files < <(git ls-files ${FILES:-'src/*.c'})

# PostgreSQL's headers are not followed: its macros (foreach, PG_TRY) are unknown to cppcheck.
say "cppcheck"
cppcheck --quiet --std=c99 --enable=warning,portability --error-exitcode=1 --inline-suppr -Isrc -Ibuild/generated \
	--suppress=missingInclude --suppress=unknownMacro "${files[@]}"
say "clang-tidy"
clang-tidy --quiet "${files[@]}" -- -Isrc -Ibuild/generated -I"$("$pg_config" --includedir-server)" -D_GNU_SOURCE \
	-DSMARTLEAD_VERSION='"lint"' 2> >(grep -v 'warnings generated' >&2)
say "clean"
