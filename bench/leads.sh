# Listing the leads of a campaign: our pages fetched ahead, our pages one after the other, the way
# of the pgsql-http extension, and curl alone; with and without latency. Then the memory it takes.
# Run by "make bench"; see scripts/bench.sh. shellcheck shell=bash

runs=${BENCH_RUNS:-5}

# connect NAME OPTION...: one more connection to the sandbox.
connect()
{
	local name=$1
	shift
	sql -c "CREATE SERVER $name FOREIGN DATA WRAPPER smartlead
			OPTIONS (base_url '$SMARTLEAD_SANDBOX_URL', rate_limit 'none'$*)" \
		-c "CREATE USER MAPPING FOR CURRENT_USER SERVER $name OPTIONS (api_key 'sandbox-key-alpha')"
}

# median: of the numbers on the input, one a line.
median()
{
	sort -n | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'
}

# time_query FROM-ITEM: the median of the milliseconds in which all its columns get into a table,
# in a session that has made a connection before.
time_query()
{
	{
		echo "SELECT count(*) FROM smartlead_ping('ahead');"
		echo '\timing on'
		for _ in $(seq "$runs"); do
			echo "CREATE TEMP TABLE listed AS SELECT * FROM $1;"
			echo "DO \$\$ BEGIN ASSERT (SELECT count(*) FROM listed) = $leads, 'rows are missing'; END \$\$;"
			echo 'DROP TABLE listed;'
		done
	} | sql -f - | sed -n 's/^Time: \([0-9.]*\) ms.*/\1/p' | awk 'NR % 3 == 1' | median
}

# time_curl OPTION...: likewise for a curl that fetches the pages and drops them.
time_curl()
{
	local start end
	for _ in $(seq "$runs"); do
		start=$(date +%s%N)
		curl -s --compressed "$@" -o /dev/null \
			"$SMARTLEAD_SANDBOX_URL/campaigns/$campaign/leads?api_key=sandbox-key-alpha&limit=100&offset=[0-$((leads - 1)):100]" \
			2>/dev/null # --parallel shows its progress even with --silent
		end=$(date +%s%N)
		echo $(((end - start) / 1000))
	done | median | awk '{ print $1 / 1000 }'
}

# What one writes with the pgsql-http extension: a request a page, jsonb taken apart.
define_http_way()
{
	sql <<-'SQL'
		CREATE EXTENSION http;
		CREATE FUNCTION http_list_leads(url text, campaign bigint, key text)
		RETURNS SETOF smartlead_campaign_lead LANGUAGE plpgsql AS $$
		DECLARE
			page jsonb;
			first bigint := 0;
		BEGIN
			LOOP
				SELECT content::jsonb INTO page FROM http_get(format(
					'%s/campaigns/%s/leads?api_key=%s&limit=100&offset=%s', url, campaign, key, first));
				RETURN QUERY
				SELECT (e->>'campaign_lead_map_id')::bigint, (l->>'id')::bigint, l->>'email',
					l->>'first_name', l->>'last_name', e->>'status', (e->>'lead_category_id')::bigint,
					l->>'phone_number', l->>'company_name', l->>'website', l->>'location',
					l->>'linkedin_profile', l->>'company_url', l->'custom_fields',
					(l->>'is_unsubscribed')::boolean, l->'unsubscribed_client_id_map',
					(e->>'created_at')::timestamptz, NULL::jsonb
				FROM jsonb_array_elements(page->'data') e, LATERAL (SELECT e->'lead') AS x(l);
				first := first + 100;
				EXIT WHEN first >= (page->>'total_leads')::bigint;
			END LOOP;
		END $$;
	SQL
}

# line NAME MILLISECONDS BASE: one row of the table, with the ratio to the base.
line()
{
	awk -v name="$1" -v ms="$2" -v base="$3" \
		'BEGIN { printf "  %-44s %10.1f ms   %5.2f\n", name, ms, ms / base }'
}

compare()
{
	local one ahead http
	set_latency "$1"
	one=$(time_query "smartlead_list_leads($campaign, connection => 'one')")
	ahead=$(time_query "smartlead_list_leads($campaign, connection => 'ahead')")
	printf '%s leads, %s ms latency (median of %s; last column: ratio to one page after the other)\n' \
		"$leads" "$1" "$runs"
	line 'smartlead_list_leads, fetch_concurrency 1' "$one" "$one"
	line 'smartlead_list_leads, default' "$ahead" "$one"
	if [ "$has_http" = t ]; then
		http=$(time_query "http_list_leads('$SMARTLEAD_SANDBOX_URL', $campaign, 'sandbox-key-alpha')")
		line 'pgsql-http, PL/pgSQL' "$http" "$one"
		awk -v a="$ahead" -v h="$http" 'BEGIN { printf "  ours to pgsql-http: %.2f\n", a / h }'
	else
		echo '  pgsql-http: left out, the extension "http" is not installed'
	fi
	line 'curl, one page after the other' "$(time_curl)" "$one"
	line 'curl --parallel, 8 at once' "$(time_curl --parallel --parallel-max 8)" "$one"
}

# The growth of a backend's peak of resident memory over what it had when idle.
memory()
{
	sql <<-SQL
		\set peak 'SELECT substring(pg_read_file(''/proc/self/status'') FROM ''VmHWM:\\\\s+(\\\\d+)'')::bigint AS '
		:peak idle \gset
		SELECT count(*) AS rows FROM smartlead_list_leads($campaign, connection => 'ahead') \gset
		:peak listed \gset
		\echo  :rows leads: :idle kB idle, :listed kB at the peak
		SELECT format('  grown by %s MB', round((:listed - :idle) / 1024.0, 1));
	SQL
}

set_latency()
{
	"$top/test/sandboxctl" POST /_sandbox/config "{\"latency_ms\": $1}" >/dev/null
}

begin() # begin LEADS: a sandbox with that many in campaign 600002, and the two connections
{
	leads=$1 campaign=600002
	start_sandbox "$sandbox_binary" "$stage" --big "$leads" --quiet
	sql -c 'SET client_min_messages = error' -c 'DROP SERVER IF EXISTS ahead CASCADE' \
		-c 'DROP SERVER IF EXISTS one CASCADE'
	connect ahead
	connect one ", fetch_concurrency '1'"
}

begin 10000
has_http=$(sql -c "SELECT EXISTS (SELECT 1 FROM pg_available_extensions WHERE name = 'http')")
[ "$has_http" = f ] || define_http_way
compare 0
compare 100
set_latency 0
echo 'Peak memory of one backend'
memory
stop_sandbox
begin 200000
memory
