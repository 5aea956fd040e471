# Receiving webhooks: durable events per second and the latency of an answer, at 1, 32 and 256
# connections, with one receiver and with one for each processor, beside an Express receiver that inserts per
# request, pgbench that inserts the same row per transaction (as it comes, with a prepared statement, and with
# the NOTIFY of an event as well), and libmicrohttpd that answers without a database. Then the latency at a moderate pace, and a receiver's memory
# over a million events.
#
# All of them take turns, several rounds long, and the medians are told: a machine that others use, too, is
# faster in one minute than in the next. Each figure is told as it is had, too, and a contender that fails is told and
# left out. BENCH_ROUNDS=1 is a short form, of two minutes, for a first look.
#
# The server is one that has been running for a while: its memory has been touched, and its log is written into
# files that are there already. It is made so before each turn: a new server stops every second to make such a file, and
# a virtual machine takes back memory that was not used for a moment.
# Run by "make bench"; see scripts/bench.sh. shellcheck shell=bash

rounds=${BENCH_ROUNDS:-3}
if [ "$rounds" -gt 1 ]; then
	seconds=${BENCH_SECONDS:-5} million=${BENCH_EVENTS:-1000000}
else
	seconds=${BENCH_SECONDS:-2} million=${BENCH_EVENTS:-50000}
fi
many=$(nproc)
token=0123456789abcdef
pids=()
declare -A measured # by contender: "rate p50 p99", a line each round

. "$top/bench/receiver/load.sh"

if ! command -v wrk >/dev/null; then
	say "left out: wrk is not installed"
	return 0
fi

end_others()
{
	[ ${#pids[@]} -eq 0 ] || kill "${pids[@]}" 2>/dev/null || true
}
trap 'end_others; stop_sandbox' EXIT

# turn NAME COMMAND...: a contender's measurement by a command that sets rate, p50 and p99. One that fails says why
# itself.
turn()
{
	local name=$1
	shift
	[ "$rounds" -eq 1 ] || warm_up
	if ! "$@"; then
		echo "  $name: this turn is left out"
		return 0
	fi
	measured[$name]+="$rate $p50 $p99"$'\n'
	printf '  %s connections, round %s: %-42s %9.0f/s\n' "$connections" "$round" "$name" "$rate"
}

median() # median NAME COLUMN
{
	printf '%s' "${measured[$1]}" | cut -d ' ' -f "$2" | sort -g |
		awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'
}

# The contender's medians.
row() # row NAME
{
	[ -n "${measured[$1]:-}" ] || return 0
	awk -v n="$1" -v r="$(median "$1" 1)" -v a="$(median "$1" 2)" -v b="$(median "$1" 3)" 'BEGIN {
		printf "  %-42s %9.0f/s %9s ms %9s ms\n", n, r, a, b }'
}

# The rates of one receiver and of several over the contender's.
ratio() # ratio NAME
{
	[ -n "${measured[$1]:-}" ] || return 0
	awk -v one="$(median "$one" 1)" -v several="$([ -z "${measured[$several]:-}" ] || median "$several" 1)" -v r="$(median "$1" 1)" 'BEGIN {
		printf "    one receiver to it: %.1f", one / r
		printf several ? ", several: %.1f\n" : "\n", several / r }'
}

# ours COUNT CONNECTIONS: a load on so many receivers; every answered event must be stored.
ours()
{
	local before
	receivers "$1"
	before=$(stored)
	load "$2" "$ours" || return 1
	before=$(($(stored) - before))
	[ "$bad" -eq 0 ] && [ "$before" -ge "$sent" ] || die "$sent answered, $bad badly, but $before stored"
}

# Beside as many connections on which nobody says anything, which a batch must not wait for.
beside_idle() # beside_idle CONNECTIONS
{
	local host=${ours#http://} silent=() fd
	host=${host%%/*}
	receivers 1
	for _ in $(seq "$1"); do
		exec {fd}<>"/dev/tcp/${host%:*}/${host#*:}"
		silent+=("$fd")
	done
	load "$1" "$ours"
	for fd in "${silent[@]}"; do
		exec {fd}>&-
	done
}

start_express()
{
	local port
	has_express=f
	command -v npm >/dev/null || return 0
	mkdir "$stage/express"
	cp "$top"/bench/receiver/{package.json,express.js} "$stage/express"
	(cd "$stage/express" && npm install --silent --no-audit --no-fund >/dev/null 2>&1) || return 0
	sql -c "CREATE TABLE express_events (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
		request_id text UNIQUE, event_type text, event_at timestamptz, campaign_id bigint, lead_id bigint,
		lead_email text, payload jsonb, received_at timestamptz DEFAULT now())"
	port=$(free_port)
	(cd "$stage/express" && TOKEN=$token PORT=$port exec "${as_user[@]}" env PATH="$PATH" NODE_ENV=production \
		PGHOST="$PGHOST" PGPORT="$PGPORT" PGUSER="$PGUSER" TOKEN=$token PORT="$port" node express.js) &
	pids+=($!)
	express=http://127.0.0.1:$port/hooks/$token
	await "$express"
	has_express=t
}

start_answer()
{
	local port
	port=$(free_port)
	cc -O2 -o "$stage/answer" "$top/bench/receiver/answer.c" -lmicrohttpd
	"$stage/answer" "$port" &
	pids+=($!)
	answer=http://127.0.0.1:$port/
	await "$answer"
}

# The same row as ours, by pgbench: one transaction each.
pgbench() # pgbench CLIENTS PROTOCOL SCRIPT
{
	p50=- p99=-
	rate=$("${as_user[@]}" "$bindir/pgbench" -n -c "$1" -j 2 -T "$seconds" -M "$2" -f "$stage/$3" bench 2>"$stage/pgbench.err" |
		sed -n 's/^tps = \([0-9.]*\).*/\1/p')
	[ -n "$rate" ] || { echo "  pgbench told no rate of $3: $(tail -1 "$stage/pgbench.err" | grep . || echo "no transaction ended within $seconds s")"; return 1; }
}

start_tuned
sql -c 'SELECT smartlead_create_events()' -c 'CREATE TABLE inserted (LIKE smartlead_events INCLUDING ALL, UNIQUE (fingerprint))' \
	-c 'ALTER TABLE inserted ALTER id ADD GENERATED ALWAYS AS IDENTITY'
sql -c 'CREATE SEQUENCE numbers CACHE 100'
# With a space behind each colon, which pgbench takes for a variable otherwise. What is unique grows, as it does
# with events.
cat >"$stage/insert.sql" <<-'SQL'
	INSERT INTO inserted (received_at, connection, request_id, fingerprint, event_type, kind, event_at, campaign_id,
		campaign_name, lead_id, lead_map_id, lead_email, lead_name, from_email, to_email, sequence_number, subject, stats_id, payload)
	SELECT now(), 'hooks', 'pgbench-' || n, lpad(to_hex(n), 32, '0')::uuid, 'EMAIL_OPEN', 'EMAIL_OPEN', '2026-03-03T09:27:27.234+00:00', 549768,
		'Spring dentists', 3499513771, 2433664091, 'ada@clinic.example', 'Ada Okoro', 'sam@send.example',
		'ada@clinic.example', 1, 'Hello', n,
		'{"event_type": "EMAIL_OPEN","webhook_id": 111,"secret_key": "5f0c","sl_email_lead_id": "3499513771","sl_email_lead_map_id": 2433664091,"campaign_id": 549768,"campaign_name": "Spring dentists","campaign_status": "ACTIVE","client_id": null,"sequence_number": 1,"from_email": "sam@send.example","to_email": "ada@clinic.example","to_name": "Ada Okoro","subject": "Hello","time_opened": "2026-03-03T09:27:27.234+00:00","event_timestamp": "2026-03-03T09:27:27.234+00:00","description": "Ada opened e-mail 1","metadata": {"webhook_created_at": "2026-02-26T10:19:49.535Z"}}'
	FROM nextval('numbers') AS n ON CONFLICT DO NOTHING;
SQL
{
	echo 'BEGIN;'
	cat "$stage/insert.sql"
	cat <<-'SQL'
		SELECT pg_notify('smartlead_events', '{"id": 1,"type": "EMAIL_OPEN","campaign_id": 549768,"lead_id": 3499513771,"lead_email": "ada@clinic.example"}');
		COMMIT;
	SQL
} >"$stage/notify.sql"
chmod a+rX "$stage" "$stage"/{insert,notify}.sql
start_ours
start_express
start_answer
for warming in $(seq "$rounds"); do
	warm_up
done

one='one receiver (deduplicated, durable)'
several="$many receivers"
idle='one receiver, as many idle ones open'
others=('Express + pg, an insert per request' 'pgbench, a row per transaction' 'the same, prepared'
	'the same, prepared, with its notification' 'libmicrohttpd, no database')
[ "$has_express" = t ] || echo 'Express + pg is left out: npm could not install them'

for connections in 1 32 256; do
	measured=()
	for round in $(seq "$rounds"); do
		turn "$one" ours 1 "$connections"
		if [ "$connections" -gt 1 ]; then
			turn "$idle" beside_idle "$connections"
		fi
		if [ "$connections" -gt 1 ] && [ "$many" -gt 1 ]; then
			turn "$several" ours "$many" "$connections"
		fi
		[ "$has_express" = f ] || turn "${others[0]}" load "$connections" "$express"
		turn "${others[1]}" pgbench "$connections" simple insert.sql
		turn "${others[2]}" pgbench "$connections" prepared insert.sql
		turn "${others[3]}" pgbench "$connections" prepared notify.sql
		turn "${others[4]}" load "$connections" "$answer"
	done
	printf '%s connections, medians of %s rounds of %s s: events per second, p50, p99\n' \
		"$connections" "$rounds" "$seconds"
	row "$one"
	row "$idle"
	row "$several"
	for other in "${others[@]}"; do
		row "$other"
		ratio "$other"
	done
done

receivers 1
export PACE=32
load 16 "$ours" || die "nothing answers at a moderate pace"
unset PACE
printf 'at %.0f events per second: p50 %s ms, p99 %s ms\n' "$rate" "$p50" "$p99"

memory() # of the receiver's own, in kB
{
	sql -c "SELECT substring(pg_read_file('/proc/' || pid || '/status') FROM 'RssAnon:\\s+(\\d+)')
		FROM smartlead_workers WHERE worker = 'receiver'"
}

sql -c CHECKPOINT
load 256 "$ours" # the largest batches, for which memory is taken once
before=$(memory) total=0
while [ "$total" -lt "$million" ]; do
	load 32 "$ours"
	total=$((total + sent))
done
after=$(memory)
echo "$total more events: $before kB of the receiver's own before, $after kB after"
[ "$after" -lt $((before + 1024)) ] || die "the receiver's memory has grown"
