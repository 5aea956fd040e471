#!/usr/bin/env bash
# make test-versions: builds and tests on other releases of Debian, with their PostgreSQL, libcurl, libmicrohttpd and
# compilers, each in a directory below build/versions that debootstrap makes and that is kept for the next run.
#
#   SUITES="bullseye bookworm trixie sid"   which of them: PostgreSQL 13, 15, 17, and 18 or newer
#   FULL=1                                  every test, in place of pg_regress and seven prove files
#   MIRROR=http://deb.debian.org/debian     where the packages come from
#
# In each: gcc and clang with -Wall -Wextra -Werror (clang without the warnings that it doesn't know or that are about
# PostgreSQL's own headers), then the tests. A suite that can't be had is told and left out.
# The last line is "N passed, N failed", of all suites together.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

suites=${SUITES:-bullseye bookworm trixie sid}
mirror=${MIRROR:-http://deb.debian.org/debian}
short='000_harness 010_cancel 030_connections 040_faults 050_privileges 200_events 300_queue'
clang='-Wno-unknown-warning-option -Wno-ignored-attributes -Wno-ignored-optimization-argument'
rooms=$top/build/versions
total_passed=0 total_failed=0
told=()

# make_room SUITE: the directory, with a Debian in it. False: it can't be had.
make_room()
{
	local room=$rooms/$1
	[ ! -e "$room/made" ] || return 0
	rm -rf --one-file-system "$room"
	mkdir -p "$room"
	say "$1: debootstrap"
	debootstrap --variant=minbase "$1" "$room" "$mirror" >"$rooms/$1.debootstrap.log" 2>&1 || {
		tail -3 "$rooms/$1.debootstrap.log"
		rm -rf --one-file-system "$room"
		return 1
	}
	touch "$room/made"
}

# What git knows of, and what is new in the working tree, without anything that was built.
copy_sources()
{
	local room=$1/src/smartlead
	mkdir -p "$room"
	find "$room" -mindepth 1 -maxdepth 1 ! -name build -exec rm -rf {} +
	git ls-files -z --cached --others --exclude-standard |
		while IFS= read -r -d '' file; do [ ! -e "$file" ] || printf '%s\0' "$file"; done |
		tar --null -T - -cf - | tar -C "$room" -xf -
}

# in_room ROOM COMMAND: with processes and mounts of its own, which end with it.
in_room()
{
	local room=$1
	shift
	unshare --mount --pid --fork --kill-child sh -ec '
		room=$1; shift
		mount --make-rprivate /
		mount -t proc proc "$room/proc"
		mount -t tmpfs tmpfs "$room/dev/shm" 2>/dev/null || { mkdir -p "$room/dev/shm"; mount -t tmpfs tmpfs "$room/dev/shm"; }
		mount -t tmpfs -o mode=1777 tmpfs "$room/tmp"
		cp /etc/resolv.conf "$room/etc/resolv.conf" 2>/dev/null || true
		grep -q localhost "$room/etc/hosts" 2>/dev/null || echo "127.0.0.1 localhost" >>"$room/etc/hosts"
		exec chroot "$room" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \
			DEBIAN_FRONTEND=noninteractive sh -ec "$@"' sh "$room" "$@"
}

try_suite()
{
	local suite=$1 room=$rooms/$1 log=$rooms/$1.log line passed failed tests=$short
	if ! make_room "$suite"; then
		say "$suite: left out, debootstrap can't make it"
		told+=("$suite: left out")
		return 0
	fi
	copy_sources "$room"
	[ -z "${FULL:-}" ] && tests="$(regress_tests | paste -sd' ') $short" || tests=
	[ -z "${TESTS:-}" ] || tests=$TESTS
	say "$suite: building and testing, all of it in $log"
	# A mirror may be a snapshot of some weeks ago, whose lists have expired.
	if ! in_room "$room" 'echo "Acquire::Check-Valid-Until \"false\";" >/etc/apt/apt.conf.d/90snapshot; apt-get -qq update; apt-get -qq install -y --no-install-recommends make git clang ca-certificates; cd /src/smartlead; make deps' \
		>"$log" 2>&1; then
		tail -5 "$log"
		say "$suite: left out, its packages can't be had"
		told+=("$suite: left out")
		return 0
	fi
	in_room "$room" "cd /src/smartlead; make clean >/dev/null; make -s -j$(nproc) CC=clang COPT='$clang' WERROR=-Werror all && echo 'clang: clean' || true; make clean >/dev/null
		exec make test WERROR=-Werror TESTS='$tests'" >>"$log" 2>&1 || true
	grep -q '^clang: clean$' "$log" || { say "$suite: clang does not build it"; total_failed=$((total_failed + 1)); }
	line=$(grep -E '^[0-9]+ passed, [0-9]+ failed$' "$log" | tail -1 || true)
	read -r passed failed < <(sed 's/ passed, / /; s/ failed//' <<<"${line:-0 passed, 1 failed}")
	total_passed=$((total_passed + passed)) total_failed=$((total_failed + failed))
	grep -E '^not ok|Failed test|error:|has not ended|^test .*FAILED' "$log" | head -20 || true
	told+=("$suite: ${line:-did not build}, $(versions_of "$room")")
	say "${told[-1]}"
}

versions_of()
{
	in_room "$1" 'postgres=$(pg_config --version); curl=$(curl --version | head -1 | cut -d" " -f2); gcc=$(gcc -dumpfullversion)
		echo "$postgres, libcurl $curl, gcc $gcc"' 2>/dev/null
}

[ "$(id -u)" -eq 0 ] || die "debootstrap and chroot are for root: sudo make test-versions"
MAKE=$MAKE scripts/deps.sh versions
mkdir -p "$rooms"
for suite in $suites; do
	try_suite "$suite"
done
say "in short"
printf '   %s\n' "${told[@]}"
echo "$total_passed passed, $total_failed failed"
[ "$total_failed" -eq 0 ]
