#!/usr/bin/env bash
# Installs what is missing for the purposes named: build, test, valgrind, bench, format.
# Says nothing when all is there. PG_CONFIG in the environment names an installation of PostgreSQL
# to use as it is.
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

has_server()
{
	local bin
	bin=$("${PG_CONFIG:-pg_config}" --bindir)
	[ -x "$bin/postgres" ] && [ -x "$bin/initdb" ] && [ -x "$bin/psql" ]
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
		need 'has_pgxs && has_server' postgresql-MAJOR
	fi
}

probe_test()
{
	need 'command -v prove && perl -MHTTP::Tiny -MJSON::PP -MTAP::Harness -e1' perl
	need 'perl -MIPC::Run -e1' libipc-run-perl
	need 'command -v curl' curl
	need 'command -v openssl' openssl
}

for purpose in "$@"; do
	case $purpose in
		build) probe_build ;;
		test) probe_test ;;
		valgrind) need 'command -v valgrind' valgrind libc6-dbg ;;
		bench) need 'command -v curl' curl ;;
		format) need 'command -v clang-format' clang-format ;;
		*) die "deps.sh: unknown purpose $purpose" ;;
	esac
done

[ ${#missing[@]} -gt 0 ] || exit 0

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
apt update
packages=()
for package in $(names); do
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)" = installed ] || packages+=("$package")
done
say "installing with apt-get: ${packages[*]}"
apt install -y --no-install-recommends "${packages[@]}"
