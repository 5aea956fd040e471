#!/usr/bin/env bash
# make bench: every bench/*.sh, or those that BENCH names, against a cluster and a sandbox of their
# own. Each is sourced in a subshell with the functions of lib.sh, a started cluster (PG*, database
# "bench", extension created), $stage for its files, and sandbox_binary for start_sandbox.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

stage=
finish()
{
	local status=$?
	set +e
	cd "$top"
	if [ -n "$stage" ]; then
		stop_cluster "$stage"
		rm -rf "$stage"
	fi
	exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

scripts/deps.sh build bench
choose_user
find_postgres
build_all
install_privately
stage=$(mktemp -d /tmp/smartlead-bench.XXXXXX)
stage_tests "$stage"
sandbox_binary=$stage/test/sandbox/sandbox

# psql as the benchmarks want it: bare values, no surprises from ~/.psqlrc, stop at an error.
sql()
{
	"${as_user[@]}" "$bindir/psql" -X -q -A -t -v ON_ERROR_STOP=1 -d bench "$@"
}

cd "$stage"
init_cluster "$stage" # with fsync, as a server of the user's has it
start_cluster "$stage"
"${as_user[@]}" "$bindir/createdb" bench
sql -c 'CREATE EXTENSION smartlead'

for bench in "$top"/bench/*.sh; do
	name=$(basename "$bench" .sh)
	[ -z "${BENCH:-}" ] || [[ " $BENCH " == *" $name "* ]] || continue
	say "$name ($(nproc) cores, $("$pg_config" --version))"
	(
		trap stop_sandbox EXIT
		. "$bench"
	)
done
