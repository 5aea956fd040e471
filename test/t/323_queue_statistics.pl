# What a look at a long queue costs, and what the order on a lead is worth to jobs that name it by its address.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use SmartleadTest;

my $node = smartlead_node('main', conf => "smartlead.databases = 'postgres'\nsmartlead.port = @{[free_port()]}\nautovacuum = off");

sub query
{
	return $node->safe_psql('postgres', $_[0]);
}

# ---- addresses ----

sandbox_post('/_sandbox/fault', { kind => 'status', status => 503, path => '/campaigns/549768/leads/3499513773/pause', times => 2 });
query(q{BEGIN;
	SELECT smartlead_enqueue('pause_lead', '{"campaign_id": 549768, "lead_id": 3499513773}');
	SELECT smartlead_enqueue('unsubscribe_lead', '{"email": "chi@clinic.example"}');
	SELECT smartlead_enqueue('resume_lead', '{"campaign_id": 549768, "lead_id": 3499513773}', now() + interval '1 second');
	COMMIT});
ok($node->poll_query_until('postgres', q{SELECT NOT EXISTS (SELECT FROM smartlead_queue WHERE state IN ('ready', 'running'))}), 'jobs by address and by number end');
is( join(' ', map { $_->{path} =~ m{/(pause|resume|unsubscribe)$} } grep { $_->{status} == 200 } @{ sandbox_get('/_sandbox/log') }),
	'pause unsubscribe resume', 'Q13: a job by address joins the order of those by number');
is(query(q{SELECT lead_id FROM smartlead_queue WHERE action = 'unsubscribe_lead'}), '3499513773', 'Q13: its row tells the lead that was found');
query('DELETE FROM smartlead_queue');

# ---- statistics ----

query(q{ALTER SYSTEM SET smartlead.perform_jobs = off; SELECT pg_reload_conf()});
query(q{INSERT INTO smartlead_queue (state, action, args, connection, run_as, run_as_name, run_at, due_at, started_at, finished_at, last_error)
	SELECT CASE WHEN i % 100 = 0 THEN 'failed' WHEN i % 100 = 1 THEN 'cancelled' WHEN i % 10 = 2 THEN 'ready' ELSE 'done' END,
	       CASE WHEN i % 2 = 0 THEN 'pause_lead' ELSE 'resume_lead' END, '{"campaign_id": 600001, "lead_id": 3600000001}', 'sandbox',
	       (SELECT oid FROM pg_roles WHERE rolname = current_user), current_user, now() - interval '1 hour', now() - interval '1 hour',
	       CASE WHEN i % 10 <> 2 THEN now() - i * interval '1 second' END, CASE WHEN i % 10 <> 2 THEN now() - i * interval '1 second' END,
	       CASE WHEN i % 100 = 0 THEN 'error ' || i END
	  FROM generate_series(1, 100000) i});
$node->safe_psql('postgres', 'VACUUM ANALYZE smartlead_queue');
is( query(q{SELECT action, ready, running, done, failed, cancelled, oldest_ready IS NOT NULL, last_error FROM smartlead_stat_queue ORDER BY action}),
	"pause_lead|10000|0|39000|1000|0|t|error 100\nresume_lead|0|0|49000|0|1000|f|", 'Q14: the statistics are right');
is( query(q{SELECT s.action, done_last_hour - count(*) FILTER (WHERE state = 'done' AND finished_at > now() - interval '1 hour'),
		failed_last_hour - count(*) FILTER (WHERE state = 'failed' AND finished_at > now() - interval '1 hour'),
		done_last_minute - count(*) FILTER (WHERE state = 'done' AND finished_at > now() - interval '1 minute'), done_last_hour > 1000
		FROM smartlead_stat_queue s JOIN smartlead_queue q ON q.action = s.action GROUP BY s.action, done_last_hour, failed_last_hour, done_last_minute ORDER BY 1}),
	"pause_lead|0|0|0|t\nresume_lead|0|0|0|t", 'Q14: those of the last minute and hour as well');
my $plan = query('EXPLAIN SELECT * FROM smartlead_stat_queue');
unlike($plan, qr/Seq Scan on smartlead_queue\b(?!_)/, 'Q14: they read no table from end to end') or diag $plan;
like($plan, qr/Index Only Scan using smartlead_queue_$_ /, "Q14: but smartlead_queue_$_") foreach qw(ready ended finished);
like($plan, qr/Index Scan using smartlead_queue_error /, 'Q14: and one row for the last error');

$node->stop;
done_testing();
