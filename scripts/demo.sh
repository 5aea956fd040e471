#!/usr/bin/env bash
# demo.sh start|stop: a guided tour on a private cluster with an imitation Smartlead beside it.
# It goes on running for psql until "make demo-stop"; with CI set or DEMO_KEEP=0 it ends at once.
# The tour itself is demo/*.sql, in the order of their names.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

state=build/demo.state # what "stop" must know, one NAME=VALUE a line

# The address of the cluster's directory: build/demo, unless the user that runs the server cannot get
# there, or the path is too long for a socket.
choose_directory()
{
	home=$top/build/demo
	mkdir -p "$home"
	if [ "$(id -u)" -eq 0 ]; then
		chown "$run_user" "$home"
	fi
	if [ ${#home} -gt 80 ] || ! "${as_user[@]}" test -w "$home"; then
		rm -rf "$home"
		home=$(mktemp -d /tmp/smartlead-demo.XXXXXX)
		[ "$(id -u)" -ne 0 ] || chown "$run_user" "$home"
	fi
	chmod 700 "$home"
}

# A directory as choose_directory makes it, and not what a link leads to: it is going to be removed, maybe by root.
is_ours()
{
	[ -d "$1" ] && [ ! -L "$1" ] && [ "$(stat -c %U "$1")" = "$run_user" ] || return 1
	[ "$1" = "$top/build/demo" ] || [[ "$1" =~ ^/tmp/smartlead-demo\.[A-Za-z0-9]{6}$ ]]
}

# Ends what a former run left, too, when that was cut off. A process is only ended when it is
# still the sandbox that was started.
stop()
{
	[ -f "$state" ] || return 0
	local name value home='' sandbox=''
	while IFS='=' read -r name value; do
		case $name in
			home) home=$value ;;
			sandbox) sandbox=$value ;;
		esac
	done <"$state"
	if [ -n "$sandbox" ] && [ "$(cat "/proc/$sandbox/comm" 2>/dev/null)" = sandbox ]; then
		kill "$sandbox" || true
	fi
	if [ -n "$home" ] && [ -d "$home" ]; then
		is_ours "$home" || die "$state names $home, which is no directory of a demo; remove $state by hand"
		stop_cluster "$home"
		rm -rf "$home"
	fi
	rm -f "$state"
}

keeps_running()
{
	[ -z "${CI:-}" ] && [ "${DEMO_KEEP:-1}" != 0 ]
}

finish()
{
	local status=$?
	cd "$top"
	if [ "$status" -ne 0 ] || ! keeps_running; then
		stop
	fi
	exit "$status"
}

start_all()
{
	trap finish EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM
	choose_directory
	printf 'home=%s\n' "$home" >"$state"
	if [ "$(id -u)" -eq 0 ]; then
		cp test/sandbox/sandbox "$home/sandbox" # the checkout may be out of the user's reach
		sandbox=$home/sandbox
	else
		sandbox=$top/test/sandbox/sandbox
	fi
	cd "$home"
	init_cluster "$home"
	sed "s/@FREE_PORT@/$(free_port)/" "$top/demo/postgresql.conf" |
		"${as_user[@]}" tee -a "$home/data/postgresql.conf" >/dev/null
	start_cluster "$home"
	start_sandbox "$sandbox" "$home"
	printf 'sandbox=%s\n' "$sandbox_pid" >>"$top/$state"
	"${as_user[@]}" "$bindir/createdb" demo
	cd "$top"
}

# As run_user, which may be able neither to read the files nor to enter the checkout: psql gets them
# on its input.
tour()
{
	local part
	cd "$home"
	for part in "$top"/demo/[0-9]*.sql; do
		printf '\n'
		"${as_user[@]}" "$bindir/psql" -X -q -a -v ON_ERROR_STOP=1 -P pager=off -P null=- \
			-v sandbox_url="$SMARTLEAD_SANDBOX_URL" -v sandbox_root="${SMARTLEAD_SANDBOX_URL%/api/v1}" \
			-d demo <"$part" 2>&1 || die "$part failed"
	done
	cd "$top"
}

farewell()
{
	printf '\n'
	if keeps_running; then
		say "the server and the sandbox go on running; to look around:"
		printf '\n    %s -h %s -U postgres demo\n\n' "$bindir/psql" "$home"
		say "make demo-stop ends them and removes $home"
	else
		say "done; server and sandbox are being stopped"
	fi
}

choose_user
case $1 in
	start)
		scripts/deps.sh build
		choose_user # the account may have come with the packages
		find_postgres
		build_all
		install_privately
		stop
		start_all
		tour
		farewell
		;;
	stop)
		[ -f "$state" ] || { say "no demo is running here"; exit 0; }
		find_postgres
		use_private_copy
		stop
		say "the demo is stopped and removed"
		;;
esac
