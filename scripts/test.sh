#!/usr/bin/env bash
# make test: every test against a private cluster, from nothing. TESTS="name name" runs some.
# The last line is "N passed, N failed"; what a run leaves is in build/test.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

stage=
total_passed=0 total_failed=1 # until the tests have been reached

finish()
{
	local status=$?
	set +e
	cd "$top"
	stop_prove
	stop_sandbox
	if [ -n "$stage" ]; then
		stop_cluster "$stage"
		rm -rf build/test
		mkdir -p build/test
		for kept in regress tmp_check/log server.log sandbox.log; do
			[ ! -e "$stage/$kept" ] || cp -r "$stage/$kept" build/test/
		done
		rm -rf "$stage"
	fi
	echo "$total_passed passed, $total_failed failed"
	[ "$status" -ne 0 ] || [ "$total_failed" -eq 0 ] || status=1
	exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

scripts/deps.sh build test
choose_user
find_postgres
build_all
install_privately

stage=$(mktemp -d /tmp/smartlead-test.XXXXXX)
stage_tests "$stage"

cd "$stage"
init_cluster "$stage"
"${as_user[@]}" tee -a data/postgresql.conf >/dev/null <<'CONF'
fsync = off
max_worker_processes = 24
CONF
start_cluster "$stage"
start_sandbox "$stage/test/sandbox/sandbox" "$stage"

say "pg_regress"
run_regress "$stage/regress"
total_passed=$passed total_failed=$((failed + 1)) # until prove is through, too
summary="pg_regress: $passed passed, $failed failed"
if [ "$failed" -gt 0 ]; then
	cat regress/regression.diffs 2>/dev/null || true
	say "the end of the server's log"
	tail -40 server.log
fi

say "prove"
run_prove "$stage"
total_passed=$((total_passed + passed)) total_failed=$((total_failed - 1 + failed))
if [ "$failed" -gt 0 ]; then
	say "the ends of the logs below build/test/log"
	tail -n 30 tmp_check/log/* 2>/dev/null || true
fi

cd "$top"
say "$summary"
say "prove: $passed passed, $failed failed"
