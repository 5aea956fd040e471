# What the scripts share; to be sourced by bash with the checkout as working directory.
# shellcheck shell=bash

top=$PWD
MAKE=${MAKE:-make}
# A job server of the calling make is not ours to use; its variables (WERROR=, COPT=) are.
MAKEFLAGS=$(printf '%s' "${MAKEFLAGS:-}" | sed -E 's/(^| )-?-j(observer)?[^ ]*//g')
export MAKEFLAGS LC_ALL=C
unset MAKELEVEL

say()
{
	printf '== %s\n' "$*"
}

die()
{
	printf 'error: %s\n' "$*" >&2
	exit 1
}

# PostgreSQL refuses to run as root. Sets run_user and as_user, the words to put before a command
# so that it runs as that user; as_user is empty where the caller is no root.
choose_user()
{
	local user
	as_user=()
	run_user=$(id -un)
	[ "$(id -u)" -eq 0 ] || return 0
	for user in postgres nobody; do
		if id -u "$user" >/dev/null 2>&1; then
			run_user=$user
			as_user=(setpriv --reuid="$(id -u "$user")" --regid="$(id -g "$user")" --init-groups
				env HOME=/nonexistent USER="$user" LOGNAME="$user")
			return 0
		fi
	done
	die "neither of the accounts postgres and nobody exists to run a server as"
}

# Looks up the installation that PG_CONFIG names, or the default one.
find_postgres()
{
	pg_config=${PG_CONFIG:-pg_config}
	bindir=$("$pg_config" --bindir)
	server=$bindir/postgres # or, where there is none, what deps.sh has unpacked
	[ -x "$server" ] || server=$top/build/server$bindir/postgres
	pgxs=$(dirname "$("$pg_config" --pgxs)")/..
	pg_regress=$pgxs/test/regress/pg_regress
	[ -x "$server" ] || die "$pg_config names an installation without a server"
}

build_all()
{
	say "building for $("$pg_config" --version)"
	$MAKE -s -j"$(nproc)" PG_CONFIG="$pg_config" all
	$MAKE -s -C test/sandbox
}

# From here on, programs are those of a copy of the installation that is ours alone, so that nothing of the
# system's is touched: PostgreSQL finds its files by where its programs are. It is below build/, unless the user
# that runs the server can't get there. Sets copy, and bindir to the copy's.
use_private_copy()
{
	mkdir -p build
	copy=$top/build/postgres
	if ! "${as_user[@]}" test -x "$top/build"; then
		copy=/tmp/smartlead-postgres.$(id -u).$(printf '%s' "$top" | cksum | cut -d' ' -f1)
		mkdir -p -m 755 "$copy"
		[ -O "$copy" ] && [ ! -L "$copy" ] || die "$copy is not a directory of our own"
	fi
	system_bindir=$bindir
	bindir=$copy$bindir
}

# Makes the copy, unless it is there, and puts the extension into it. With it come the extensions that the installation
# has besides, of which some tests are about, and pg_partman, if deps.sh has unpacked that; it is made anew when
# there are others.
install_privately()
{
	local made_from sharedir
	use_private_copy
	sharedir=$("$pg_config" --sharedir)
	made_from="$("$pg_config" --version) $(readlink -f "$server") $(stat -L -c '%s %Y' "$server")
$(ls "$sharedir"/extension/*.control "$top/build/partman$sharedir"/extension/*.control 2>/dev/null | cksum || true)"
	if [ "$(cat "$copy/made-from" 2>/dev/null)" != "$made_from" ]; then
		say "copying PostgreSQL to $copy"
		rm -rf "${copy:?}"/*
		copy_directory "$system_bindir" "$copy"
		copy_directory "$("$pg_config" --pkglibdir)" "$copy"
		copy_directory "$sharedir" "$copy"
		[ "$server" = "$system_bindir/postgres" ] || cp -a build/server/. "$copy"
		[ ! -e "build/partman$sharedir/extension" ] || cp -a build/partman/. "$copy"
		printf '%s\n' "$made_from" >"$copy/made-from"
	fi
	say "installing the extension into $copy"
	$MAKE -s PG_CONFIG="$pg_config" DESTDIR="$copy" install
	chmod -R a+rX "$copy"
	"${as_user[@]}" "$bindir/postgres" --version >/dev/null ||
		die "the user $run_user cannot run $bindir/postgres"
}

# copy_directory DIR COPY: DIR and what is in it, at the same path below COPY. bitcode is only for
# compilers of queries, which do without.
copy_directory()
{
	mkdir -p "$2$1"
	tar -C "$1" --exclude=./bitcode -cf - . | tar -C "$2$1" -xf -
}

# stage_tests DIR: copies into DIR what the tests need and gives it to the user that runs them, who
# may not be able to read this checkout (/root, a private home).
stage_tests()
{
	local sql
	cp -r test docs endpoints ./*.md "$1/"                     # the examples of the documents are tested as well
	cp --parents src/*.c src/*/*.c "$1"                        # whether messages are as the documents tell
	cp --parents META.json Makefile ./*.control sql/*.sql "$1" # and versions and names in step
	mkdir -p "$1/test/expected" "$1/scripts" "$1/build" "$1/tmp_check"
	cp scripts/* "$1/scripts"
	for sql in test/sql/*.sql; do # a test without an expected output fails, but does not end the run
		touch "$1/test/expected/$(basename "$sql" .sql).out"
	done
	chmod -R go+rX "$1/test" "$1/docs" "$1/endpoints" "$1/scripts" "$1/src" "$1/sql" "$1/Makefile" "$1"/*.*
	[ "$(id -u)" -ne 0 ] || chown -R "$run_user" "$1"
}

# A TCP port on the loopback that nothing listens on at this moment.
free_port()
{
	perl -MIO::Socket::INET -e \
		'print IO::Socket::INET->new(Listen => 1, LocalAddr => "127.0.0.1")->sockport'
}

# init_cluster DIR: a cluster in DIR/data whose only door is the socket in DIR, which none but its
# owner and root can reach; so several may run at once, and trust is no risk.
init_cluster()
{
	"${as_user[@]}" "$bindir/initdb" -D "$1/data" -U postgres -A trust -E UTF8 --locale=C --no-sync \
		>"$1/initdb.log" 2>&1 || { cat "$1/initdb.log" >&2; die "initdb failed"; }
	"${as_user[@]}" tee -a "$1/data/postgresql.conf" >/dev/null <<-CONF
		listen_addresses = ''
		unix_socket_directories = '$1'
		unix_socket_permissions = 0700
		shared_preload_libraries = 'smartlead'
	CONF
	export PGHOST=$1 PGPORT=5432 PGUSER=postgres
}

start_cluster() # start_cluster DIR
{
	"${as_user[@]}" "$bindir/pg_ctl" -D "$1/data" -l "$1/server.log" -w -t 300 start >/dev/null ||
		{ tail -20 "$1/server.log" >&2; die "the server did not start"; }
}

stop_cluster() # stop_cluster DIR
{
	[ ! -f "$1/data/postmaster.pid" ] || # pg_ctl wants a directory that its user may enter
		(cd "$1" && "${as_user[@]}" "$bindir/pg_ctl" -D "$1/data" -m fast -t 300 stop >/dev/null)
}

# start_sandbox BINARY DIR [OPTION...]: the imitation Smartlead on a free port, its files in DIR.
# Sets sandbox_pid and exports SMARTLEAD_SANDBOX_URL, the address of its API.
start_sandbox()
{
	local binary=$1 dir=$2 try
	shift 2
	rm -f "$dir/sandbox.port"
	(exec setsid "${as_user[@]}" "$binary" --port 0 --port-file "$dir/sandbox.port" "$@" \
		>"$dir/sandbox.log" 2>&1 </dev/null) &
	sandbox_pid=$!
	for try in $(seq 100); do
		[ ! -s "$dir/sandbox.port" ] || break
		kill -0 "$sandbox_pid" 2>/dev/null || break
		sleep 0.1
	done
	[ -s "$dir/sandbox.port" ] || { cat "$dir/sandbox.log" >&2; die "the sandbox did not start"; }
	SMARTLEAD_SANDBOX_URL=http://127.0.0.1:$(cat "$dir/sandbox.port")/api/v1
	export SMARTLEAD_SANDBOX_URL
}

stop_sandbox()
{
	if [ -n "${sandbox_pid:-}" ]; then
		kill "$sandbox_pid" 2>/dev/null || true
		wait "$sandbox_pid" 2>/dev/null || true
		sandbox_pid=
	fi
}

# The pg_regress files to run, by name and in order; TESTS narrows them.
regress_tests()
{
	local file name
	for file in test/sql/*.sql; do
		name=$(basename "$file" .sql)
		[ -z "${TESTS:-}" ] || [[ " $TESTS " == *" $name "* ]] || continue
		printf '%s\n' "$name"
	done
}

# The prove files likewise.
prove_tests()
{
	local file name
	for file in test/t/*.pl; do
		name=$(basename "$file" .pl)
		[ -e "$file" ] || continue
		[ -z "${TESTS:-}" ] || [[ " $TESTS " == *" $name "* ]] || continue
		printf '%s\n' "$file"
	done
}

# run_regress OUTPUTDIR: runs the pg_regress files against the server of the PG* variables, from the
# working directory, and sets passed and failed. Its dialect differs with the version of PostgreSQL.
run_regress()
{
	local tests
	mapfile -t tests < <(regress_tests)
	passed=0 failed=0
	[ ${#tests[@]} -gt 0 ] || return 0
	"${as_user[@]}" mkdir -p "$1"
	timeout -k 10 "${SMARTLEAD_REGRESS_BOUND:-1200}" "${as_user[@]}" "$pg_regress" --bindir="$bindir" --inputdir=test --outputdir="$1" \
		--dbname=smartlead_regression --encoding=UTF8 --no-locale \
		${PGHOST:+--host="$PGHOST"} ${PGPORT:+--port="$PGPORT"} ${PGUSER:+--user="$PGUSER"} \
		"${tests[@]}" 2>&1 | tee build/regress.out || true
	passed=$(grep -cE '^ok [0-9]|^test .* \.\.\. ok' build/regress.out || true)
	failed=$((${#tests[@]} - passed))
}

stop_prove() # after an interruption: the tests end what they have started
{
	if [ -n "${prove_pid:-}" ]; then
		kill "$prove_pid" 2>/dev/null || true
		wait "$prove_pid" 2>/dev/null || true
		prove_pid=
	fi
}

# run_prove DIR: runs the prove files, their clusters and logs below DIR, and sets passed and failed. In the
# background, since bash heeds no signal while it waits for a command in the foreground.
run_prove()
{
	local tests
	mapfile -t tests < <(prove_tests)
	passed=0 failed=0
	[ ${#tests[@]} -gt 0 ] || return 0
	env -u PGHOST -u PGUSER -u PGDATABASE \
		TESTDIR="$1" TESTDATADIR="$1/tmp_check" TESTLOGDIR="$1/tmp_check/log" \
		PATH="$bindir:$PATH" PGPORT=65432 PG_REGRESS="$pg_regress" \
		"${as_user[@]}" perl scripts/prove.pl "$1/prove.count" \
		-I "$pgxs/test/perl" -I test/perl "${tests[@]}" &
	prove_pid=$!
	wait "$prove_pid" || true
	prove_pid=
	read -r passed failed <"$1/prove.count" || { passed=0 failed=${#tests[@]}; }
}
