# What the size of the table of events costs: events per second, and the processor's time and the WAL of one event, on
# tables of several sizes, plain and partitioned by day, with one receiver and with several. Then retention beside
# 500 events per second: what is dropped with its partition, and what is deleted row by row.
#
#   BENCH_ROWS="0 10000000"   sizes of the tables; 100 million need 60 GB of disk: BENCH_ROWS="0 10000000 100000000"
#   BENCH_SECONDS=10          length of a load
#   BENCH_ROUNDS=3            loads of each sort, of which the medians are told
#   BENCH_CONNECTIONS="32 256"
#
# The rows that fill a table are short, since nothing reads them: the receiver reads the keys of the last week alone,
# which are filled as well. Run by "make bench BENCH=scale"; see scripts/bench.sh. shellcheck shell=bash

sizes=${BENCH_ROWS:-0 10000000}
seconds=${BENCH_SECONDS:-10}
rounds=${BENCH_ROUNDS:-3}
loads=${BENCH_CONNECTIONS:-32 256}
many=$(nproc)
days=30
kept=7 # days for which there are keys: the default of smartlead.event_key_retention

. "$top/bench/receiver/load.sh"

if ! command -v wrk >/dev/null; then
	say "left out: wrk is not installed"
	return 0
fi

# make_table KIND ROWS: anew, with rows of the last days, their keys, and ids to go on from.
make_table()
{
	local from to step=1000000
	sql -c 'DROP TABLE IF EXISTS smartlead_events' -c 'TRUNCATE smartlead_event_keys'
	if [ "$1" = plain ]; then
		sql -c 'SELECT smartlead_create_events()' >/dev/null
	else
		sql -c 'SELECT smartlead_create_events(partitioned => true)' >/dev/null
		make_partitions
	fi
	for ((from = 1; from <= $2; from = to + 1)); do
		to=$((from + step - 1 < $2 ? from + step - 1 : $2))
		fill "$from" "$to" "$2"
	done
	sql -c "SELECT setval('smartlead_event_id_seq', $2 + 1)" >/dev/null
	sql -c 'VACUUM (FREEZE, ANALYZE) smartlead_events' -c 'VACUUM (FREEZE, ANALYZE) smartlead_event_keys'
	warm_up
}

# One a day, from the oldest to those that are made ahead.
make_partitions()
{
	sql -c "DO \$\$
		DECLARE
			day date;
		BEGIN
			FOR day IN SELECT generate_series(current_date - $days - 1, current_date + 4, '1 day') LOOP
				EXECUTE format('CREATE TABLE %I PARTITION OF smartlead_events FOR VALUES FROM (%L) TO (%L)',
					'smartlead_events_' || to_char(day, 'YYYYMMDD'), day, day + 1);
			END LOOP;
		END \$\$"
}

# fill FROM TO ROWS: rows number FROM to TO of so many, evenly over the days until now.
fill()
{
	sql <<-SQL
		CREATE TEMP VIEW filling AS
			SELECT i AS id, now() - ($3 - i) * (interval '$days days' / $3) AS received_at, lpad(to_hex(i), 32, '0')::uuid AS fingerprint
			  FROM generate_series($1::bigint, $2) AS i;
		INSERT INTO smartlead_events (id, received_at, connection, fingerprint, event_type, kind, event_at,
				campaign_id, lead_id, lead_email, payload)
			SELECT id, received_at, 'hooks', fingerprint, 'EMAIL_OPEN', 'EMAIL_OPEN', received_at,
				549768, id % 100000, 'ada@clinic.example', '{"event_type": "EMAIL_OPEN"}' FROM filling;
		INSERT INTO smartlead_event_keys (fingerprint, event_id, received_at)
			SELECT fingerprint, id, received_at FROM filling WHERE received_at > now() - interval '$kept days';
	SQL
}

# So far: the events stored, the receivers' ticks of the processor, the bytes of WAL.
meters()
{
	local pid ticks=0
	for pid in $(sql -c "SELECT pid FROM smartlead_workers WHERE worker = 'receiver' AND state = 'running'"); do
		ticks=$((ticks + $(sed 's/.*) //' "/proc/$pid/stat" | awk '{ print $12 + $13 }')))
	done
	sql -c "SELECT sum(stored), $ticks, pg_current_wal_lsn() - '0/0' FROM smartlead_stat_receiver" -F ' '
}

# measure RECEIVERS CONNECTIONS: a line with the medians.
measure()
{
	local round before after lines=
	receivers "$1"
	for round in $(seq "$rounds"); do
		sql -c CHECKPOINT
		before=$(meters)
		load "$2" "$ours" || return 0
		after=$(meters)
		lines+=$(echo "$before $after" | awk -v hertz="$(getconf CLK_TCK)" -v rate="$rate" -v p99="$p99" '{
			n = $4 - $1; printf "%.0f %.1f %.0f %s", rate, ($5 - $2) / hertz / n * 1e6, ($6 - $3) / n, p99 }')$'\n'
		[ "$bad" -eq 0 ] || die "$bad of $sent answered badly"
	done
	printf '  %-12s %12s rows %3s receivers %4s connections %9s/s %7s us %7s bytes %9s ms\n' "$kind" "$rows" "$1" "$2" \
		"$(median_of "$lines" 1)" "$(median_of "$lines" 2)" "$(median_of "$lines" 3)" "$(median_of "$lines" 4)"
}

median_of() # median_of LINES COLUMN
{
	printf '%s' "$1" | cut -d ' ' -f "$2" | sort -g | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'
}

# beside_load COMMAND...: 500 events a second for a while, and within it the command.
beside_load()
{
	local worker
	export PACE=32
	(
		load 16 "$ours" || exit 0
		printf '    beside it %.0f events per second: p50 %s ms, p99 %s ms, %s answered badly\n' "$rate" "$p50" "$p99" "$bad"
	) &
	worker=$!
	sleep 2
	"$@"
	wait "$worker"
	unset PACE
	run=$((run + 1)) # the one that the load has had
}

drop_partitions()
{
	local n time
	n=$(sql -c "SELECT count(*) FROM smartlead_events WHERE received_at < current_date - $kept")
	time=$(sql <<-SQL
		CREATE TEMP TABLE began AS SELECT clock_timestamp() AS at;
		SELECT format('DROP TABLE %s', inhrelid::regclass) FROM pg_inherits
		 WHERE inhparent = 'smartlead_events'::regclass AND substring(inhrelid::regclass::text FROM '\d{8}$')::date < current_date - $kept \gexec
		SELECT round(extract(epoch FROM clock_timestamp() - at)::numeric, 3) FROM began;
	SQL
	)
	printf '  partitioned: %s rows dropped with their partitions in %s s\n' "$n" "$time"
}

# The housekeeper, for as long as the load lasts.
delete_rows()
{
	local before after
	before=$(sql -c "SELECT count(*) FROM smartlead_events WHERE received_at < now() - interval '$kept days'")
	sql -c "ALTER SYSTEM SET smartlead.event_retention = '${kept}d'" -c 'SELECT pg_reload_conf()' >/dev/null
	sleep "$((seconds > 4 ? seconds - 4 : 1))"
	sql -c 'ALTER SYSTEM RESET smartlead.event_retention' -c 'SELECT pg_reload_conf()' >/dev/null
	after=$(sql -c "SELECT count(*) FROM smartlead_events WHERE received_at < now() - interval '$kept days'")
	printf '  plain: %s of %s rows deleted in %s s\n' $((before - after)) "$before" "$((seconds > 4 ? seconds - 4 : 1))"
}

start_tuned
start_ours
echo "medians of $rounds loads of $seconds s: events per second; of one event, the receivers' processor time and the WAL; p99"
for rows in $sizes; do
	for kind in plain partitioned; do
		make_table "$kind" "$rows"
		for connections in $loads; do
			measure 1 "$connections"
			[ "$many" -eq 1 ] || measure "$many" "$connections"
		done
		receivers 1
		if [ "$rows" -gt 0 ] && [ "$kind" = partitioned ]; then
			beside_load drop_partitions
		elif [ "$rows" -gt 0 ]; then
			beside_load delete_rows
		fi
	done
done
