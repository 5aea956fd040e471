# The queue: how fast jobs are drained, with and without latency, beside one call after the other and
# beside pg_net; how close a rate limit is kept; and what enqueueing costs beside a plain INSERT.
# Run by "make bench"; see scripts/bench.sh. shellcheck shell=bash

jobs=${BENCH_JOBS:-10000}
calls=50
campaign=600001
first_lead=3600000000
limit=10/2s
limited_jobs=100
floor=18 # seconds: ten at once, then ten more every two seconds
key=sandbox-key-alpha

sandbox() # sandbox METHOD PATH [JSON]
{
	"$top/test/sandboxctl" "$@"
}

# fresh LATENCY [RATE]: the sandbox as at its start, with that latency and rate limit.
fresh()
{
	sandbox POST /_sandbox/reset >/dev/null
	sandbox POST /_sandbox/config "{\"latency_ms\": $1, \"rate_limit\": \"${2:-none}\"}" >/dev/null
}

connect() # connect NAME RATE-LIMIT
{
	sql -c "CREATE SERVER $1 FOREIGN DATA WRAPPER smartlead
			OPTIONS (base_url '$SMARTLEAD_SANDBOX_URL', rate_limit '$2')" \
		-c "CREATE USER MAPPING FOR CURRENT_USER SERVER $1 OPTIONS (api_key '$key')"
}

row() # row NAME SECONDS COUNT
{
	awk -v name="$1" -v s="$2" -v n="$3" \
		'BEGIN { printf "  %-40s %8.2f s %9.0f/s\n", name, s, n / s }'
}

ratio() # ratio NAME A B
{
	awk -v name="$1" -v a="$2" -v b="$3" 'BEGIN { printf "    %s: %.2f\n", name, a / b }'
}

# timed STATEMENT CONDITION: the seconds from the commit of the statement until the condition holds.
timed()
{
	sql <<-SQL | tail -1
		SELECT count(*) FROM ($1) AS begun;
		CREATE TEMP TABLE began AS SELECT clock_timestamp() AS at;
		DO \$\$
		BEGIN
			WHILE NOT ($2) LOOP
				PERFORM pg_sleep(0.005);
			END LOOP;
		END \$\$;
		SELECT extract(epoch FROM clock_timestamp() - at) FROM began;
	SQL
}

enqueue_pauses() # enqueue_pauses CONNECTION COUNT: the query
{
	echo "SELECT smartlead_enqueue('pause_lead', jsonb_build_object('campaign_id', $campaign,
		'lead_id', $first_lead + i), connection => '$1') FROM generate_series(0, $2 - 1) AS i"
}

time_queue() # time_queue CONNECTION COUNT
{
	timed "$(enqueue_pauses "$@")" \
		"(SELECT count(*) = 0 FROM smartlead_queue WHERE state IN ('ready', 'running'))"
}

check_queue() # check_queue COUNT: all done, each by a request of its own
{
	local done sent
	done=$(sql -c "SELECT count(*) FILTER (WHERE state = 'done') FROM smartlead_queue")
	sent=$(sandbox GET /_sandbox/counts | sed 's/.*"requests": *\([0-9]*\).*/\1/')
	[ "$done" = "$1" ] && [ "$sent" = "$1" ] || die "$1 jobs, but $done done by $sent requests"
	sql -c 'TRUNCATE smartlead_queue'
}

# Calls in a session, one after the other, on a connection kept alive.
time_calls()
{
	sql <<-SQL | tail -1
		SELECT count(smartlead_pause_lead($campaign, $first_lead, connection => 'target'));
		CREATE TEMP TABLE began AS SELECT clock_timestamp() AS at;
		SELECT count(smartlead_pause_lead($campaign, $first_lead + i, connection => 'target'))
		FROM generate_series(1, $calls) AS i;
		SELECT extract(epoch FROM clock_timestamp() - at) FROM began;
	SQL
}

start_pg_net()
{
	local setting
	has_pg_net=$(sql -c "SELECT EXISTS (SELECT 1 FROM pg_available_extensions WHERE name = 'pg_net')")
	[ "$has_pg_net" = t ] || return 0
	for setting in 'shared_preload_libraries = smartlead, pg_net' "pg_net.database_name = 'bench'"; do
		sql -c "ALTER SYSTEM SET $setting"
		stop_cluster "$stage"
		start_cluster "$stage"
	done
	sql -c 'SET client_min_messages = error' -c 'CREATE EXTENSION pg_net'
}

time_pg_net()
{
	timed "SELECT net.http_post('$SMARTLEAD_SANDBOX_URL/campaigns/$campaign/leads/' ||
			$first_lead + i || '/pause?api_key=$key', '{}', timeout_milliseconds => 60000)
			FROM generate_series(0, $jobs - 1) AS i" \
		"(SELECT count(*) = $jobs FROM net._http_response)"
	sql -c 'TRUNCATE net._http_response'
}

drain() # drain LATENCY
{
	local ours one other
	printf '%s pauses of leads, %s ms latency, no rate limit\n' "$jobs" "$1"
	fresh "$1"
	ours=$(time_queue target "$jobs")
	check_queue "$jobs"
	row 'the queue' "$ours" "$jobs"
	fresh "$1"
	one=$(time_calls)
	row 'smartlead_pause_lead(), one by one' "$one" "$calls"
	ratio 'the queue to it' "$(awk -v n="$jobs" -v s="$ours" 'BEGIN { print n / s }')" \
		"$(awk -v n="$calls" -v s="$one" 'BEGIN { print n / s }')"
	if [ "$has_pg_net" = t ]; then
		fresh "$1"
		other=$(time_pg_net)
		row 'pg_net as it comes' "$other" "$jobs"
		ratio 'the queue to it' "$other" "$ours"
	else
		echo '  pg_net: left out, it is not installed'
	fi
}

# A session's single calls while the queue is busy: the longest of them, in seconds.
longest_call()
{
	local start end longest=0
	for _ in 1 2 3 4 5; do
		sleep 1.3
		start=$(date +%s%N)
		sql -c "SELECT count(*) FROM smartlead_ping('limited')" >/dev/null
		end=$(date +%s%N)
		longest=$((end - start > longest ? end - start : longest))
	done
	awk -v ns="$longest" 'BEGIN { printf "%.2f\n", ns / 1e9 }'
}

keep_limit()
{
	local took throttled
	printf '%s pauses of leads, rate_limit %s\n' "$limited_jobs" "$limit"
	fresh 0 "$limit"
	took=$(time_queue limited "$limited_jobs")
	throttled=$(sandbox GET /_sandbox/counts | sed 's/.*"throttled": *\([0-9]*\).*/\1/')
	check_queue "$limited_jobs"
	row 'the queue' "$took" "$limited_jobs"
	ratio "to the floor of $floor s" "$took" "$floor"
	echo "    answered 429: $throttled"
	sleep 2 # until the windows are empty
	fresh 0 "$limit"
	sql -c "$(enqueue_pauses limited "$limited_jobs")" >/dev/null
	echo "    longest of five calls meanwhile: $(longest_call) s"
	sql -c "SELECT smartlead_cancel(id) FROM smartlead_queue WHERE state = 'ready'" >/dev/null
}

# pgbench_rate FILE
pgbench_rate()
{
	"${as_user[@]}" "$bindir/pgbench" -n -c 1 -T "${BENCH_SECONDS:-6}" -M prepared -f "$1" bench 2>/dev/null |
		sed -n 's/^tps = \([0-9.]*\).*/\1/p'
}

# The milliseconds of a thousand in one transaction, in a loop of PL/pgSQL; the median of nine.
time_thousand()
{
	{
		echo '\timing on'
		for _ in $(seq 9); do
			echo "DO \$\$ BEGIN FOR i IN 1..1000 LOOP $1; END LOOP; END \$\$;"
		done
	} | sql -f - | sed -n 's/^Time: \([0-9.]*\) ms.*/\1/p' | sort -n | sed -n 5p
}

enqueueing()
{
	local enqueue insert ours plain
	enqueue="smartlead_enqueue('pause_lead', '{\"campaign_id\": 600001, \"lead_id\": 3600000001}',
		now() + interval '1 day', 'target')"
	insert="INSERT INTO plain (action, args, connection, run_as, run_as_name, lead_id, run_at, due_at) VALUES ('pause_lead',
		'{\"campaign_id\": 600001, \"lead_id\": 3600000001}', 'target', 'postgres', current_user, 3600000001,
		now() + interval '1 day', now() + interval '1 day')"
	sql -c 'CREATE TABLE plain (LIKE smartlead_queue INCLUDING ALL)'
	echo 'Enqueueing, beside an INSERT of the same row by hand'
	ours=$(time_thousand "PERFORM $enqueue")
	plain=$(time_thousand "$insert")
	awk -v o="$ours" -v p="$plain" \
		'BEGIN { printf "  %-40s %8.1f and %.1f us: %.2f\n", "a thousand in a transaction, each", o, p, o / p }'
	printf 'SELECT %s;\n' "$enqueue" >"$stage/enqueue.sql"
	printf '%s;\n' "$insert" >"$stage/insert.sql"
	chmod a+rX "$stage" "$stage"/*.sql
	ours=$(pgbench_rate "$stage/enqueue.sql")
	plain=$(pgbench_rate "$stage/insert.sql")
	awk -v o="$ours" -v p="$plain" \
		'BEGIN { printf "  %-40s %8.0f and %.0f/s: %.2f\n", "one in a transaction, transactions", o, p, p / o }'
}

start_sandbox "$sandbox_binary" "$stage" --quiet
start_pg_net
connect target none
connect limited "$limit"
sql -c "ALTER SYSTEM SET smartlead.databases = 'bench'" -c 'SELECT pg_reload_conf()' >/dev/null
drain 0
drain 100
keep_limit
enqueueing
