#!/usr/bin/env bash
# make valgrind: the pg_regress suite and those prove files that don't measure time, on servers under memcheck,
# with a leak check of every process at its end. TESTS="name name" runs some. Counted is what has a frame of
# ours; reports and logs are in build/valgrind.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

# Files of test/t without limits of time that a server thirty times slower breaks.
timeless='200_events 205_inserting 210_triggers 240_attacks 250_subscribe 260_retention 320_automations'

stage=
finish()
{
	local status=$?
	set +e
	cd "$top"
	stop_prove
	stop_sandbox
	if [ -n "$stage" ]; then
		stop_cluster "$stage"
		rm -rf "$stage"
	fi
	exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

scripts/deps.sh build test valgrind
choose_user
find_postgres
build_all
install_privately
stage=$(mktemp -d /tmp/smartlead-valgrind.XXXXXX)
stage_tests "$stage"

cd "$stage"
init_cluster "$stage"
# Memcheck makes all of it some thirty times slower: no time limit of the server's may strike.
"${as_user[@]}" tee -a data/postgresql.conf >/dev/null <<'CONF'
fsync = off
max_worker_processes = 24
authentication_timeout = 600s
CONF
"${as_user[@]}" mkdir reports
memcheck=(valgrind --quiet --tool=memcheck --trace-children=yes
	--leak-check=full --show-leak-kinds=definite,possible --errors-for-leak-kinds=definite,possible
	--track-origins=yes --num-callers=30 --error-limit=no --gen-suppressions=no
	--suppressions="$stage/test/valgrind.supp" --xml=yes --xml-file="$stage/reports/%p.xml")
say "starting the server under valgrind"
(exec setsid "${as_user[@]}" "${memcheck[@]}" "$bindir/postgres" -D "$stage/data" >"$stage/server.log" 2>&1 </dev/null) &
valgrind_pid=$!
for _ in $(seq 300); do
	! "${as_user[@]}" "$bindir/pg_isready" -q || break
	kill -0 "$valgrind_pid" 2>/dev/null || { cat server.log >&2; die "the server did not start"; }
	sleep 1
done
start_sandbox "$stage/test/sandbox/sandbox" "$stage"

say "pg_regress"
run_regress "$stage/regress"
stop_cluster "$stage"
wait "$valgrind_pid" || true # the last report is written while it ends
summary="pg_regress under valgrind: $passed passed, $failed failed"
ran=$passed all_failed=$failed

# The tests of prove start servers of their own, by the pg_ctl of this directory, which takes the postgres that
# is beside it.
mkdir bin
ln -s "$bindir"/* bin/
rm bin/postgres bin/pg_ctl
cp "$bindir/pg_ctl" bin/
{
	echo '#!/bin/sh'
	echo "case \" \$* \" in *' -D '*) exec $(printf '%q ' "${memcheck[@]}") '$bindir/postgres' \"\$@\" ;; esac"
	echo "exec '$bindir/postgres' \"\$@\""
} >bin/postgres
chmod -R a+rX bin
chmod a+x bin/postgres
say "prove"
bindir=$stage/bin TESTS=${TESTS:-$timeless} run_prove "$stage"
ran=$((ran + passed)) all_failed=$((all_failed + failed))

cd "$top"
rm -rf build/valgrind
mkdir -p build/valgrind
cp -r "$stage/reports" "$stage/server.log" build/valgrind/
[ ! -e "$stage/regress" ] || cp -r "$stage/regress" build/valgrind/
say "$summary"
say "prove under valgrind: $passed passed, $failed failed"
perl scripts/valgrind-verdict.pl "$ran" build/valgrind/reports/*.xml
[ "$all_failed" -eq 0 ] || die "tests have failed"
