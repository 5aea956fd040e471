#!/usr/bin/env bash
# Installs what is missing for the purposes named: build (and run), valgrind, bench, format, lint, versions.
# Says nothing when all is there. PG_CONFIG in the environment names an installation of PostgreSQL
# to use as it is.
#
# Where there is no server yet, its package is not installed, since Debian's makes a cluster and starts it on
# port 5432: it is unpacked below build/server, for the private copy of the installation. pg_partman, which one test
# is about, is unpacked below build/partman; where it can't be had, that test is left out.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

missing=()

need() # need COMMAND PACKAGE...: the packages, unless the command succeeds
{
	local probe=$1
	shift
	if ! eval "$probe" >/dev/null 2>&1; then
		missing+=("$@")
	fi
}

has_header()
{
	echo "#include <$1>" | gcc -E -x c - >/dev/null 2>&1
}

# Debian's packages for clients bring a pg_config and PGXS, but no headers of the server.
has_pgxs()
{
	local config=${PG_CONFIG:-pg_config}
	[ -f "$("$config" --pgxs)" ] && [ -f "$("$config" --includedir-server)/postgres.h" ]
}

# The rest of it is in the package of the clients.
has_server()
{
	local bin
	bin=$("${PG_CONFIG:-pg_config}" --bindir)
	[ -x "$bin/psql" ] && { [ -x "$bin/postgres" ] || [ -x "build/server$bin/postgres" ]; }
}

# The major version to install for: that of the pg_config or server already here, else the system's own.
postgres_major()
{
	local major=
	if has_pgxs 2>/dev/null; then
		major=$(pg_config --version | sed 's/[^0-9]*\([0-9]*\).*/\1/')
	else
		major=$(ls -d /usr/lib/postgresql/*/bin/postgres 2>/dev/null | cut -d/ -f5 | sort -n | tail -1)
	fi
	if [ -z "$major" ]; then
		major=$(apt-cache show postgresql 2>/dev/null | sed -n 's/^Depends:.*postgresql-\([0-9][0-9]*\).*/\1/p' | head -1)
	fi
	echo "$major"
}

probe_build()
{
	need 'command -v gcc' gcc
	need 'has_header stdio.h' libc6-dev
	need 'has_header curl/curl.h' libcurl4-openssl-dev
	need 'has_header cjson/cJSON.h' libcjson-dev
	need 'has_header microhttpd.h' libmicrohttpd-dev
	need 'has_header openssl/evp.h' libssl-dev
	need 'has_header zlib.h' zlib1g-dev
	if [ -n "${PG_CONFIG:-}" ]; then
		command -v "$PG_CONFIG" >/dev/null || die "PG_CONFIG=$PG_CONFIG: no such program"
		has_pgxs || die "$PG_CONFIG names an installation without PGXS or without the headers of the server"
		has_server || die "$PG_CONFIG names an installation without a server (postgres, initdb, psql)"
	else
		need has_pgxs postgresql-server-dev-MAJOR
		need 'has_pgxs && has_server' postgresql-client-MAJOR SERVER
	fi
}

probe_test()
{
	need 'command -v prove && perl -MHTTP::Tiny -MJSON::PP -MTAP::Harness -e1' perl
	need 'perl -MIPC::Run -e1' libipc-run-perl
	need 'command -v curl' curl
	need 'command -v openssl' openssl
}

purposes=$*
for purpose in "$@"; do
	case $purpose in
		build) probe_build ;;
		test) probe_test ;;
		valgrind) need 'command -v valgrind' valgrind libc6-dbg ;;
		bench) need 'command -v curl' curl ;;
		format) need 'command -v clang-format' clang-format ;;
		lint)
			need 'command -v clang-tidy' clang-tidy
			need 'command -v cppcheck' cppcheck
			;;
		versions) need 'command -v debootstrap' debootstrap ;;
		*) die "deps.sh: unknown purpose $purpose" ;;
	esac
done

# wants_partman: whether it is for the tests to have, and neither the installation nor build/partman has it. Debian's
# package fits Debian's PostgreSQL alone.
wants_partman()
{
	local config=${PG_CONFIG:-pg_config} control
	[[ " $purposes " == *" test "* ]] && command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || return 1
	control=$("$config" --sharedir)/extension/pg_partman.control
	[[ $control == /usr/share/postgresql/* ]] && [ ! -e "$control" ] && [ ! -e "build/partman$control" ]
}

# Nothing is installed for it, so nobody has to be root; apt's lists are taken as they are.
unpack_partman()
{
	local package
	package=postgresql-$(postgres_major)-partman
	mkdir -p build/partman/package
	if (cd build/partman/package && apt-get -qq download "$package" >../../apt-partman.log 2>&1); then
		say "unpacking $package below build/partman"
		dpkg-deb -x build/partman/package/*.deb build/partman
	else
		say "without pg_partman: $package can't be had (build/apt-partman.log)"
	fi
	rm -rf build/partman/package
}

finish()
{
	! wants_partman || unpack_partman
	exit 0
}

[ ${#missing[@]} -gt 0 ] || finish

# Before apt's lists are there, the major version may be unknown: then Debian's own names say it.
names()
{
	local major
	major=$(postgres_major)
	if [ -n "$major" ]; then
		printf '%s\n' "${missing[@]//MAJOR/$major}"
	else
		printf '%s\n' "${missing[@]}" | sed 's/server-dev-MAJOR/server-dev-all/; s/-MAJOR//'
	fi | paste -sd' '
}

command -v apt-get >/dev/null ||
	die "missing: $(names) (Debian's names); install them in this system's way, there is no apt-get"
if [ "$(id -u)" -eq 0 ]; then
	as_root=()
elif command -v sudo >/dev/null; then
	as_root=(sudo)
	[ -t 0 ] || as_root=(sudo -n)
else
	die "missing: $(names); to install them, run this as root or install sudo"
fi

mkdir -p build
log=build/apt.log
: >"$log"
apt() # the environment goes through env, which sudo does not clear
{
	"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq "$@" >>"$log" 2>&1 </dev/null ||
		{ tail -20 "$log" >&2; die "apt-get $1 failed; all of its output is in $log"; }
}

if [ ${#as_root[@]} -gt 0 ] && [ -t 0 ]; then
	"${as_root[@]}" -v # asks for the password now, since apt's own input is closed
fi
# unpack_server MAJOR: with the libraries that it needs installed.
unpack_server()
{
	local package=postgresql-$1 libraries
	libraries=$(apt-cache depends "$package" | sed -n 's/^ *Depends: \(lib[^ <>]*\)$/\1/p')
	# shellcheck disable=SC2086
	apt install -y --no-install-recommends $libraries
	say "unpacking $package below build/server"
	rm -rf build/server
	mkdir -p build/server/package
	(cd build/server/package && apt-get -qq download "$package" >>"$top/$log" 2>&1) ||
		{ tail -20 "$log" >&2; die "apt-get download $package failed"; }
	dpkg-deb -x build/server/package/*.deb build/server
	rm -rf build/server/package
}

apt update
packages=()
wants_server=
for package in $(names); do
	if [ "$package" = SERVER ]; then
		wants_server=1
		continue
	fi
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)" = installed ] || packages+=("$package")
done
if [ ${#packages[@]} -gt 0 ]; then
	say "installing with apt-get: ${packages[*]}"
	apt install -y --no-install-recommends "${packages[@]}"
fi
[ -z "$wants_server" ] || unpack_server "$(postgres_major)"
finish
