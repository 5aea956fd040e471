# What the benches of the receiver share: a server with a receiver, and a load on it. To be sourced after scripts/bench.sh
# has made its cluster; "seconds" says how long a load lasts. shellcheck shell=bash

run=0

# The server of bench.sh, as one that has room, and stops for no checkpoint while something is measured.
start_tuned()
{
	sql -c 'ALTER SYSTEM SET max_connections = 300' -c "ALTER SYSTEM SET shared_buffers = '1GB'" \
		-c "ALTER SYSTEM SET min_wal_size = '8GB'" -c "ALTER SYSTEM SET max_wal_size = '16GB'" \
		-c "ALTER SYSTEM SET checkpoint_timeout = '1h'"
	stop_cluster "$stage"
	start_cluster "$stage"
}

await() # await URL: until something answers there
{
	local try
	for try in $(seq 100); do
		curl -s -o /dev/null "$1" && return 0
		sleep 0.1
	done
	die "nothing answers at $1"
}

warm_up()
{
	sql -c 'CREATE TABLE warm (page text)' -c 'ALTER TABLE warm ALTER page SET STORAGE PLAIN' \
		-c "INSERT INTO warm SELECT repeat('x', 8000) FROM generate_series(1, 150000)" -c 'DROP TABLE warm' \
		-c CHECKPOINT
}

# load CONNECTIONS URL: sets rate, p50 and p99 (ms), sent and bad.
load()
{
	run=$((run + 1))
	rate=
	read -r _ rate p50 p99 sent bad < <(RUN=$run wrk -t 1 -c "$1" -d "$seconds" \
		-s "$top/bench/receiver/events.lua" "$2" | grep RESULT) || true
	[ -n "$rate" ] || { echo "  wrk told no rate of $2"; return 1; }
}

stored()
{
	sql -c 'SELECT count(*) FROM smartlead_events'
}

receivers() # receivers COUNT: from now on
{
	sql -c "ALTER SYSTEM SET smartlead.receivers = $1" -c 'SELECT pg_reload_conf()' >/dev/null
	until [ "$(sql -c "SELECT count(*) FROM smartlead_workers WHERE worker = 'receiver' AND state = 'running'")" = "$1" ]; do
		sleep 0.1
	done
	sleep 1
}

start_ours()
{
	local port
	port=$(free_port)
	sql -c "ALTER SYSTEM SET smartlead.databases = 'bench'" -c "ALTER SYSTEM SET smartlead.port = $port" \
		-c "ALTER SYSTEM SET smartlead.notify_events = ${BENCH_NOTIFY:-on}" \
		-c "ALTER SYSTEM SET smartlead.max_connections_per_address = 0" -c 'SELECT pg_reload_conf()' >/dev/null
	sql -c "CREATE SERVER hooks FOREIGN DATA WRAPPER smartlead" \
		-c "CREATE USER MAPPING FOR PUBLIC SERVER hooks OPTIONS (api_key 'unused')"
	await "http://127.0.0.1:$port/healthz"
	ours=$(sql -c "SELECT smartlead_webhook_url('hooks')")
}
