#!/usr/bin/env bash
# installcheck.sh regress|prove: the tests against an installation that the user has made, as PGXS
# users expect. regress uses the running server of PGHOST, PGPORT, PGUSER, which must be on this
# machine, since it calls the sandbox on the loopback.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

choose_user
find_postgres
$MAKE -s -C test/sandbox
mkdir -p build

case $1 in
	regress)
		as_user=() # a client may be root
		trap stop_sandbox EXIT
		start_sandbox "$top/test/sandbox/sandbox" "$top/build"
		run_regress build/installcheck
		;;
	prove)
		[ "$(id -u)" -ne 0 ] || die "the servers of these tests cannot run as root; \"make test\" changes the user itself"
		mkdir -p build/prove
		run_prove "$top/build/prove"
		;;
esac
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
