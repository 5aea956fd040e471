# What passes ends no job: Smartlead down, throttling, a front's web page, a key that is refused. Of
# a lane in trouble, one job at a time is tried, or a harmless question asked.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use SmartleadTest;

my $node = smartlead_node('main', conf => "smartlead.databases = 'postgres'\nsmartlead.port = @{[free_port()]}\nsmartlead.queue_max_attempts = 2");

sub query
{
	return $node->safe_psql('postgres', $_[0]);
}

sub outcome
{
	my ($job, $columns) = @_;
	$columns ||= 'state, sqlstate';
	return query("SELECT $columns FROM smartlead_wait($job, '100 s')");
}

sub fault
{
	my ($status, %more) = @_;
	return sandbox_post('/_sandbox/fault', { kind => 'status', status => $status, path => '*', times => 100000, %more });
}

sub all_is_well
{
	return sandbox_request('DELETE', '/_sandbox/fault');
}

sub pauses
{
	my ($first, $last, $more) = @_;
	$more = $more ? ", $more" : '';
	return query(qq{SELECT smartlead_enqueue('pause_lead', jsonb_build_object('campaign_id', 600001, 'lead_id', 3600000000 + i)$more)
		FROM generate_series($first, $last) i});
}

sub ends_as
{
	my ($expected, $what) = @_;
	$node->poll_query_until('postgres', q{SELECT NOT EXISTS (SELECT FROM smartlead_queue WHERE state IN ('ready', 'running'))});
	is(query('SELECT state, count(*) FROM smartlead_queue GROUP BY 1 ORDER BY 1'), $expected, $what);
	query('DELETE FROM smartlead_queue');
	return;
}

my $since = 0;

sub new_log
{
	my $log = sandbox_get('/_sandbox/log');
	$since = @$log ? $log->[-1]{n} : 0;
	return;
}

# Of the requests since then: jobs', and questions.
sub counts
{
	my @log = grep { $_->{n} > $since } @{ sandbox_get("/_sandbox/log?since=$since") };
	my $questions = grep { $_->{path} =~ /fetch-categories/ } @log;
	return (@log - $questions, $questions);
}

# Waits until the lane has tried a few times whether all is well again; tells how many jobs it sent.
sub jobs_sent_in_trouble
{
	wait_until(sub { (counts())[1] >= 2 }, 'two questions were asked');
	return (counts())[0];
}

# ---- trouble of all ----

foreach my $trouble (
	[ '503', 503 ],
	[ '500 in JSON', 500, body => '{"message":"Internal error"}' ],
	[ 'a web page with 403', 403, body => '<html><head><title>Attention Required!</title></head></html>' ],
	[ 'a word with 403', 403, body => 'error code: 1010' ],
	[ '429', 429, body => '{"message":"Too many requests"}' ])
{
	my ($what, $status, %more) = @$trouble;

	fault($status, %more);
	new_log();
	pauses(1, 80);
	cmp_ok(jobs_sent_in_trouble(), '<=', 34, "Q7: $what: not each job tries it");
	is(query(q{SELECT count(*) FROM smartlead_queue WHERE state NOT IN ('ready', 'running')}), '0', "Q7: $what: no job has ended");
	is(query(q{SELECT max(failures) FROM smartlead_queue}), '0', "Q7: $what: none has failed by itself");
	all_is_well();
	ends_as('done|80', "Q7: $what: all are done when it is over");
}

# A job that must not be done twice doesn't try whether Smartlead is back.
fault(503);
pauses(1, 40);
wait_until(sub { query('SELECT max(attempts) FROM smartlead_queue') > 0 }, 'the trouble has begun');
jobs_sent_in_trouble();
query(q{SELECT smartlead_enqueue('create_campaign', jsonb_build_object('name', 'trouble ' || i), priority => 1) FROM generate_series(1, 5) i});
new_log();
wait_until(sub { (counts())[1] >= 1 }, 'another question was asked');
all_is_well();
ends_as('done|45', 'Q7: campaigns wait for the end of the trouble, and none has an unknown outcome');

# ---- trouble of one route: however often ----

fault(503, path => '/campaigns/*', times => 4);
is(outcome(pauses(1, 1), 'state, attempts, failures'), 'done|5|0', 'Q7: more attempts than queue_max_attempts, while nothing gets through');
query('DELETE FROM smartlead_queue');

# ---- trouble of one job ----

fault(503, path => '/campaigns/600001/leads/3600000003/pause');
my $poor = pauses(3, 3);
ok( wait_until(
		sub {
			pauses(4, 8);
			return query("SELECT state FROM smartlead_queue WHERE id = $poor") eq 'failed';
		},
		'a job that fails while others get through is given up'),
	'Q7: a job that fails while others of its action get through has an end');
is(query("SELECT sqlstate, failures FROM smartlead_queue WHERE id = $poor"), 'SL503|2', 'Q7: after queue_max_attempts such failures');
all_is_well();
query("DELETE FROM smartlead_queue WHERE id = $poor");
my $others = query('SELECT count(*) FROM smartlead_queue');
ends_as("done|$others", 'Q7: the others are done');

fault(403, body => '{"message":"Access denied"}', path => '/campaigns/600001/leads/3600000003/pause');
$poor = pauses(3, 3);
pauses(4, 8);
is(outcome($poor), 'failed|SL403', 'Q7: what is not permitted to one job, while others get through, fails');
all_is_well();
ends_as("done|5\nfailed|1", 'Q7: and no other');

# A key that is refused to one job alone: what asks whether it still is gets through.
fault(401, body => '{"message":"Invalid API Key"}', path => '/campaigns/600001/leads/3600000003/pause');
$poor = pauses(3, 3);
is(outcome($poor, 'state, sqlstate, failures'), 'failed|SL401|2', 'Q7: what is refused to one job, while the key is accepted, has an end');
pauses(4, 8);
all_is_well();
ends_as("done|5\nfailed|1", 'Q7: and no other');

# A permission that is withdrawn while many requests are under way, of which some got through.
sandbox_post('/_sandbox/config', { latency_ms => 500 });
fault(403, body => '{"message":"Access denied"}', skip => 10);
pauses(1, 80);
ok($node->poll_query_until('postgres', 'SELECT count(*) = 1 FROM smartlead_queue_paused'), 'a permission is withdrawn amid the jobs');
ok($node->poll_query_until('postgres', q{SELECT NOT EXISTS (SELECT FROM smartlead_queue WHERE state = 'running')}), 'and what was sent meanwhile answered');
is(query(q{SELECT state, count(*) FROM smartlead_queue GROUP BY 1 ORDER BY 1}), "done|10\nready|70", 'Q7: that costs no job either');
sandbox_post('/_sandbox/config', { latency_ms => 0 });
all_is_well();
ends_as('done|80', 'Q7: all are done when it is given back');

# ---- keys ----

fault(401, body => '{"message":"Invalid API Key"}');
new_log();
pauses(1, 50);
ok($node->poll_query_until('postgres', 'SELECT count(*) = 1 FROM smartlead_queue_paused'), 'a key is refused');
ok($node->poll_query_until('postgres', q{SELECT NOT EXISTS (SELECT FROM smartlead_queue WHERE state = 'running')}), 'and what was sent with it answered');
is(query('SELECT state, attempts, count(*) FROM smartlead_queue GROUP BY 1, 2'), 'ready|0|50', 'Q7: the pause costs no job, and none an attempt');
is(query('SELECT sqlstate FROM smartlead_queue_paused'), 'SL401', 'the table says why');
all_is_well();
ends_as('done|50', 'Q7: when the key is accepted again, they go on by themselves');
is(query('SELECT count(*) FROM smartlead_queue_paused'), '0', 'the pause is over');

connect_sandbox($node, name => 'noaccess', key => 'sandbox-key-noaccess');
pauses(1, 50, "connection => 'noaccess'");
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM smartlead_queue_paused WHERE connection = 'noaccess' AND sqlstate = 'SL403'}),
	'Q7: a key that may do nothing is paused too');
is(query(q{SELECT count(*) FROM smartlead_queue WHERE state = 'failed'}), '0', 'Q7: which costs no job');
query(q{ALTER USER MAPPING FOR CURRENT_USER SERVER noaccess OPTIONS (SET api_key 'sandbox-key-alpha')});
ends_as('done|50', 'Q7: with another key they go on');
query('DROP SERVER noaccess CASCADE');

query(q{CREATE ROLE alice LOGIN; GRANT smartlead_user TO alice; GRANT USAGE ON FOREIGN SERVER sandbox TO alice;
	CREATE USER MAPPING FOR alice SERVER sandbox OPTIONS (api_key 'sandbox-key-alpha')});
$node->safe_psql('postgres', q{SELECT smartlead_enqueue('pause_lead', '{"campaign_id": 600001, "lead_id": 3600000009}', now() + interval '1 hour')},
	extra_params => [ '-U', 'alice' ]);
query(q{REVOKE USAGE ON FOREIGN SERVER sandbox FROM alice; UPDATE smartlead_queue SET run_at = now(), due_at = now()});
pauses(1, 1);
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM smartlead_queue_paused WHERE sqlstate = '42501'}), 'a right that is taken away pauses');
is(query(q{SELECT state, attempts FROM smartlead_queue WHERE run_as = 'alice'::regrole}), 'ready|0', 'Q7: and costs no job');
query('GRANT USAGE ON FOREIGN SERVER sandbox TO alice');
ends_as('done|2', 'Q7: when it is given back, they go on by themselves');

# ---- shared requests ----

is(outcome(query(q{SELECT smartlead_enqueue('block_domain', '{"domain": "first.example"}')})), 'done|', 'a domain is blocked');
fault(503, path => '/leads/add-domain-block-list', times => 1);
query(q{BEGIN;
	SELECT smartlead_enqueue('block_domain', jsonb_build_object('domain', 'shared' || i || '.example')) FROM generate_series(1, 201) i;
	UPDATE smartlead_queue SET attempts = 1, failures = 1, started_at = now() - interval '1 hour' WHERE args ->> 'domain' = 'shared7.example';
	COMMIT});
ends_as('done|202', 'Q4: a shared request that fails is nobody\'s last attempt');

$node->stop;
done_testing();
