# The queue at work: what becomes of jobs, in which order, with whose rights, and how soon.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

use SmartleadSession;
use SmartleadTest;

my $node = smartlead_node('main', conf => "smartlead.databases = 'postgres'\nsmartlead.port = " . free_port());

sub query
{
	return $node->safe_psql('postgres', $_[0]);
}

# The number of a new job.
sub enqueue
{
	my ($action, $args, $more) = @_;
	return query("SELECT smartlead_enqueue('$action', '$args'" . ($more ? ", $more" : '') . ')');
}

# "state|sqlstate|…" of a job that has ended.
sub outcome
{
	my ($job, $columns) = @_;
	$columns ||= 'state, sqlstate';
	return query("SELECT $columns FROM smartlead_wait($job, '30 s')");
}

# "method path body" of the requests in the sandbox's log, from number $since on.
sub requests
{
	my ($since, $glob) = @_;
	my $log = sandbox_get('/_sandbox/log?since=' . ($since || 0) . ($glob ? "&path=$glob" : ''));
	return @$log;
}

sub last_request
{
	my $log = sandbox_get('/_sandbox/log');
	return @$log ? $log->[-1]{n} : 0;
}

sub paths_since
{
	my ($since) = @_;
	return join "\n", map { $_->{path} } grep { $_->{n} > $since } requests();
}

ok(wait_until(sub { query("SELECT count(*) FROM smartlead_workers WHERE worker = 'dispatcher' AND state = 'running'") eq '1' },
	'the dispatcher runs'), 'the dispatcher runs');

# ---- what becomes of a job ----

my $ada = '"campaign_id": 549768, "lead_id": 3499513771';
is(outcome(enqueue('pause_lead', "{$ada}"), 'state, attempts, response, last_error'),
	'done|1|{"ok": true, "data": "success"}|', 'an action is done');
is(sandbox_get('/_sandbox/state/leads/549768/3499513771')->{status}, 'PAUSED', 'and Smartlead has done it');
is(outcome(enqueue('get_campaign', '{"campaign_id": 549768}'), q{state, response->>'name'}),
	'done|Spring dentists', 'a lookup keeps what it found');
is(outcome(enqueue('get_campaign', '{"campaign_id": 1}'), 'state, response IS NULL'),
	'done|t', 'or that there was nothing');
is(outcome(enqueue('update_lead_category', "{$ada, \"category\": \"Not Interested\"}")), 'done|',
	'a category by its name');
is(outcome(enqueue('update_lead', "{$ada, \"first_name\": \"Adah\"}")), 'done|', 'an update without the address');
is(outcome(enqueue('unsubscribe_lead', '{"email": "chi@clinic.example"}')), 'done|', 'a lead by its address');
is(query('SELECT count(*) FROM smartlead_queue WHERE lead_id IS NOT NULL'), '4', 'the lead is in the row');

is(outcome(enqueue('pause_lead', '{"campaign_id": 549768, "lead_id": 5}'), 'state, sqlstate, attempts'),
	'failed|SL404|1', 'what Smartlead does not find fails at once');
like(query(q{SELECT last_error FROM smartlead_queue ORDER BY id DESC LIMIT 1}),
	qr/Lead not found/, 'with its words');
is(outcome(enqueue('update_lead_category', "{$ada, \"category\": \"Nonsense\"}")), 'failed|SL404',
	'an unknown category fails at once');
like(($node->psql('postgres', q{SELECT smartlead_enqueue('block_domain', '{"domain": "never valid"}')}))[2],
	qr/"never valid" is neither a domain/, 'C5: what is no domain is refused when it is enqueued');
sandbox_post('/_sandbox/fault', { kind => 'status', status => 422, body => '{"message":"no way"}', path => '/campaigns/*' });
is(outcome(enqueue('pause_lead', "{$ada}"), 'state, sqlstate, attempts'), 'failed|SL400|1', '422 is final');

# ---- transactions ----

my $before = last_request();
query(qq{BEGIN; SELECT smartlead_enqueue('pause_lead', '{$ada}'); ROLLBACK});
is(query('SELECT count(*) FROM smartlead_queue WHERE state IN (\'ready\', \'running\')'), '0',
	'a rolled-back transaction leaves nothing');
is(paths_since($before), '', 'and nothing was sent');
my ($code, $out, $err) = $node->psql('postgres',
	qq{BEGIN; SELECT smartlead_wait(smartlead_enqueue('pause_lead', '{$ada}')); COMMIT});
like($err, qr/is not to be seen by the dispatcher yet/, 'a transaction cannot wait for itself');

# ---- retries ----

sandbox_post('/_sandbox/fault', { kind => 'status', status => 503, path => '*', times => 2 });
is(outcome(enqueue('pause_lead', "{$ada}"), 'state, attempts, in_doubt, last_error'), 'done|3|t|', '503 is tried again');
sandbox_post('/_sandbox/fault', { kind => 'status', status => 429, path => '*', headers => { 'Retry-After' => '1' } });
is(outcome(enqueue('create_campaign', '{"name": "after 429"}'), 'state, attempts, in_doubt'),
	'done|2|f', '429 is tried again, whatever the action');
sandbox_post('/_sandbox/fault', { kind => 'process_then_drop', path => '*' });
is(outcome(enqueue('create_campaign', '{"name": "doubtful"}'), 'state, sqlstate, in_doubt, attempts'),
	'failed|SL520|t|1', 'an unknown outcome ends what must not be repeated');
sandbox_post('/_sandbox/fault', { kind => 'process_then_drop', path => '*' });
is(outcome(enqueue('pause_lead', "{$ada}"), 'state'), 'done', 'what may be repeated is');
sandbox_post('/_sandbox/fault', { kind => 'process_then_drop', method => 'DELETE', path => '*' });
is(outcome(enqueue('delete_lead', '{"campaign_id": 600001, "lead_id": 3600000009}'), 'state, attempts'),
	'done|2', 'what an attempt in doubt has deleted is not to be found again, and that is well');
sandbox_post('/_sandbox/fault', { kind => 'hang', path => '*', times => 1 });
query(q{ALTER SERVER sandbox OPTIONS (ADD timeout '300ms')});
is(outcome(enqueue('pause_lead', "{$ada}"), 'state, attempts'), 'done|2', 'an answer that never comes is not waited for');
query(q{ALTER SERVER sandbox OPTIONS (DROP timeout)});

# ---- time, cancel, requeue ----

my $later = enqueue('pause_lead', "{$ada}", "now() + interval '1 hour'");
is(query("SELECT state FROM smartlead_wait($later, '10 ms')"), 'ready', 'a job for later waits');
is(query("SELECT smartlead_cancel($later)"), 't', 'and can be cancelled');
is(query("SELECT smartlead_cancel($later)"), 'f', 'once');
is(query("SELECT state, finished_at IS NOT NULL FROM smartlead_queue WHERE id = $later"), 'cancelled|t', 'it is');
my $soon = enqueue('pause_lead', "{$ada}", "clock_timestamp() + interval '700 ms'");
is(outcome($soon, 'state, started_at >= run_at'), 'done|t', 'run_at is kept');
is(query("SELECT smartlead_requeue($soon)"), 'f', 'what is done is not requeued');
my $failed = enqueue('pause_lead', '{"campaign_id": 549768, "lead_id": 5}');
is(outcome($failed), 'failed|SL404', 'a job fails');
is(query("SELECT smartlead_requeue($failed)"), 't', 'it is requeued');
is(outcome($failed, 'state, attempts'), 'failed|1', 'and had its attempts anew');

# ---- order on a lead ----

sandbox_post('/_sandbox/config', { latency_ms => 5 });
$before = last_request();
query(q{SELECT smartlead_enqueue(CASE WHEN i % 2 = 1 THEN 'pause_lead' ELSE 'resume_lead' END,
	jsonb_build_object('campaign_id', 600001, 'lead_id', 3600000100 + i / 20))
	FROM generate_series(0, 999) i});
ok($node->poll_query_until('postgres', q{SELECT NOT EXISTS (SELECT FROM smartlead_queue WHERE state IN ('ready', 'running'))}),
	'1,000 jobs on 50 leads end');
my (%seen, $disorder);
foreach my $request (grep { $_->{n} > $before } requests())
{
	next unless $request->{path} =~ m{/leads/(\d+)/(pause|resume)$};
	my $expected = ($seen{$1}++ % 2) ? 'pause' : 'resume';
	$disorder++ if $2 ne $expected;
}
is(scalar(keys %seen), 50, 'of 50 leads');
is((grep { $seen{$_} != 20 } keys %seen), 0, 'each 20 times');
is($disorder, undef, 'none overtook another one on its lead');
cmp_ok(sandbox_get('/_sandbox/counts')->{max_in_flight}, '>', 8, 'while many leads were served at once');
sandbox_post('/_sandbox/config', { latency_ms => 0 });
my $blocked_by_later = query(qq{BEGIN; SELECT smartlead_enqueue('pause_lead', '{$ada}', now() + interval '1 day');
	SELECT smartlead_enqueue('resume_lead', '{$ada}'); COMMIT});
is(outcome((split /\n/, $blocked_by_later)[1]), 'done|', 'a job for tomorrow does not hold up one for now');
is(query('SELECT smartlead_cancel(' . (split /\n/, $blocked_by_later)[0] . ')'), 't', 'the one for tomorrow goes');

# ---- joining ----

$before = last_request();
query(q{SELECT smartlead_enqueue('block_domain', jsonb_build_object('domain', 'blocked' || i || '.example'))
	FROM generate_series(1, 1200) i});
ok($node->poll_query_until('postgres', q{SELECT NOT EXISTS (SELECT FROM smartlead_queue WHERE state IN ('ready', 'running'))}),
	'1,200 domains are blocked');
cmp_ok(scalar(grep { $_->{n} > $before } requests()), '<=', 12, 'in a few requests');
my $blocked = sandbox_get('/_sandbox/state/blocklist');
is(scalar(grep { (ref $_ ? $_->{email_or_domain} // $_->{domain} : $_) =~ /^blocked\d+\.example$/ } @$blocked), 1200, 'all of them');
is(query(q{SELECT count(*) FROM smartlead_queue WHERE action = 'block_domain' AND state = 'done' AND requests_shared > 1}) > 1000 ? 1 : 0,
	1, 'and each job knows that it shared a request');
is(query(q{SELECT count(*) FROM smartlead_queue WHERE action = 'block_domain' AND state = 'done' AND requests_shared > 1 AND response IS NULL}), 0,
	'D2: and what was answered to all of them');

sandbox_post('/_sandbox/fault', { kind => 'status', status => 400, body => '{"message":"one of them is bad"}', path => '/leads/add-domain-block-list', times => 1 });
$before = last_request();
query(q{SELECT smartlead_enqueue('block_domain', jsonb_build_object('domain', 'split' || i || '.example')) FROM generate_series(1, 5) i});
ok($node->poll_query_until('postgres', q{SELECT NOT EXISTS (SELECT FROM smartlead_queue WHERE state IN ('ready', 'running'))}),
	'a shared request that is refused');
is(scalar(grep { $_->{n} > $before } requests()), 6, 'is followed by one for each');
is(query(q{SELECT count(*) FROM smartlead_queue WHERE args->>'domain' LIKE 'split%' AND state = 'done' AND requests_shared IS NULL}),
	'5', 'and each has its own result');
is(join(',', map { outcome($_) } split /\n/, query(q{SELECT smartlead_enqueue('remove_campaign_email_accounts',
	jsonb_build_object('campaign_id', 549768, 'email_account_ids', ARRAY[i])) FROM unnest(ARRAY[2907, 2908]) i})),
	'done|,failed|SL400', 'accounts that may not all be removed are removed one by one');
sandbox_post('/_sandbox/config', { remove_accounts_key => 'email_accounts_ids' });
is(outcome(enqueue('remove_campaign_email_accounts', '{"campaign_id": 552100, "email_account_ids": [2908]}')), 'done|',
	'also in the other spelling');

# ---- rights ----

query(q{CREATE ROLE alice LOGIN; CREATE ROLE bob LOGIN; GRANT smartlead_user TO alice, bob;
	GRANT USAGE ON FOREIGN SERVER sandbox TO alice, bob;
	CREATE USER MAPPING FOR alice SERVER sandbox OPTIONS (api_key 'sandbox-key-beta');
	CREATE USER MAPPING FOR bob SERVER sandbox OPTIONS (api_key 'sandbox-key-alpha')});

sub as
{
	my ($role, $sql) = @_;
	my ($code, $out, $err) = $node->psql('postgres', $sql, extra_params => [ '-U', $role ]);
	return $code == 0 ? $out : $err =~ s/^psql:<stdin>:\d+: //r;
}

my $beta = as('alice', q{SELECT smartlead_enqueue('pause_lead', '{"campaign_id": 810001, "lead_id": 4000000001}')});
is(outcome($beta), 'done|', 'a job uses the key of the role that enqueued it');
is((grep { $_->{path} =~ /810001/ } requests())[-1]{key_name}, 'beta', 'indeed');
is(as('alice', 'SELECT count(*) FROM smartlead_queue'), '1', 'a user sees its own jobs');
is(as('bob', 'SELECT count(*) FROM smartlead_queue'), '0', 'and nobody else\'s');
like(as('bob', "SELECT smartlead_cancel($beta)"), qr/there is no job/, 'nor may touch them');
like(as('bob', "SELECT (smartlead_wait($beta)).state"), qr/there is no job/, 'nor wait for them');
like(as('bob', q{INSERT INTO smartlead_queue (action, args, connection, run_as, run_at, due_at)
	VALUES ('pause_lead', '{}', 'sandbox', 'alice', now(), now())}), qr/permission denied/, 'nor write the table');
my $alice = SmartleadSession->new($node, user => 'alice');
my $revoked = $alice->query(q{BEGIN; SELECT smartlead_enqueue('pause_lead', '{"campaign_id": 810001, "lead_id": 4000000001}')});
query('REVOKE USAGE ON FOREIGN SERVER sandbox FROM alice');
$alice->query('COMMIT');
$alice->quit;
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM smartlead_queue_paused WHERE sqlstate = '42501'}), 'rights count when the job runs');
like(as('alice', q{SELECT smartlead_enqueue('pause_lead', '{"campaign_id": 810001, "lead_id": 4000000001}', connection => 'sandbox')}),
	qr/permission denied for foreign server/, 'and when it is enqueued');
query('GRANT USAGE ON FOREIGN SERVER sandbox TO alice; SELECT smartlead_resume_connection(\'sandbox\')');
is(outcome($revoked), 'done|', 'with them, the job goes on');

# ---- a key that is refused ----

query(q{ALTER USER MAPPING FOR alice SERVER sandbox OPTIONS (SET api_key 'revoked')});
my @hers = split /\n/, as('alice', q{SELECT smartlead_enqueue('pause_lead', '{"campaign_id": 810001, "lead_id": 4000000001}')
	FROM generate_series(1, 40)});
my @his = split /\n/, as('bob', qq{SELECT smartlead_enqueue('pause_lead', '{"campaign_id": 600001, "lead_id": 3600000010}') FROM generate_series(1, 40)});
is(outcome($his[-1]), 'done|', 'jobs with other keys go on');
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM smartlead_queue_paused WHERE sqlstate = 'SL401'}), 'a key that is refused pauses');
is(query("SELECT state, count(*) FROM smartlead_queue WHERE id IN (" . join(',', @hers) . ") GROUP BY 1 ORDER BY 1"),
	"ready|40", 'the jobs of that key wait');
like(query(q{SELECT run_as, ready, paused_at IS NOT NULL, paused_because FROM smartlead_stat_queue WHERE run_as = 'alice'::regrole AND ready > 0}),
	qr/^alice\|40\|t\|Smartlead does not accept the API key/, 'the view says so');
$before = last_request();
is(as('alice', q{SELECT smartlead_resume_connection('sandbox')}), '1', 'they may be told to go on');
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM smartlead_queue_paused}), 'which gets no further');
query(q{ALTER USER MAPPING FOR alice SERVER sandbox OPTIONS (SET api_key 'sandbox-key-beta')});
is(outcome($hers[-1]), 'done|', 'with a new key, they go on by themselves');
is(query('SELECT count(*) FROM smartlead_queue_paused'), '0', 'and the pause is over');

# ---- a connection out of reach ----

query(qq{CREATE SERVER dead FOREIGN DATA WRAPPER smartlead OPTIONS (base_url 'http://127.0.0.1:@{[free_port()]}', rate_limit 'none');
	CREATE USER MAPPING FOR CURRENT_USER SERVER dead OPTIONS (api_key 'k')});
query(qq{SELECT smartlead_enqueue('pause_lead', '{"campaign_id": 1, "lead_id": 2}', connection => 'dead') FROM generate_series(1, 500)});
is(outcome(enqueue('pause_lead', "{$ada}", "connection => 'sandbox'")), 'done|', 'others are not held up by it');
my $dead = query(q{SELECT min(id) FROM smartlead_queue WHERE connection = 'dead'});
ok($node->poll_query_until('postgres', "SELECT attempts > 0 AND sqlstate = 'SL503' AND state = 'ready' AND NOT in_doubt FROM smartlead_queue WHERE id = $dead"),
	'a job that could not be sent is tried again later');
query(q{SELECT smartlead_cancel(id) FROM smartlead_queue WHERE connection = 'dead' AND state = 'ready'; DROP SERVER dead CASCADE});

# ---- how soon ----

my @latency = sort { $a <=> $b } map { query(qq{
	SELECT extract(epoch FROM started_at - created_at) * 1000 FROM smartlead_wait(} . enqueue('pause_lead', "{$ada}") . ')') } 1 .. 100;
diag(sprintf 'from enqueuing to sending: median %.1f ms, p99 %.1f ms', $latency[50], $latency[98]);
is(scalar @latency, 100, 'a hundred jobs one after the other');

# ---- retention ----

query(q{UPDATE smartlead_queue SET finished_at = now() - interval '30 days' WHERE finished_at IS NOT NULL});
my $old = query(q{SELECT count(*) FROM smartlead_queue WHERE finished_at < now() - interval '20 days'});
cmp_ok($old, '>', 1000, 'there are old jobs');
$node->restart;
ok($node->poll_query_until('postgres', q{SELECT NOT EXISTS (SELECT FROM smartlead_queue WHERE finished_at < now() - interval '20 days')}),
	'which the dispatcher deletes');

# ---- an orderly shutdown ----

query(q{ALTER SERVER sandbox OPTIONS (SET rate_limit '2/5s')});
my @waiting = split /\n/, query(q{SELECT smartlead_enqueue('create_campaign', jsonb_build_object('name', 'shutdown ' || i)) FROM generate_series(1, 6) i});
ok($node->poll_query_until('postgres', q{SELECT count(*) = 2 FROM smartlead_queue WHERE state = 'done'}), 'two of six fit into the limit');
$node->restart;
is(outcome($waiting[-1]), 'done|', 'the others are done after a restart');
is(query("SELECT count(*) FROM smartlead_queue WHERE sqlstate = 'SL520'"), '0', 'none was in doubt');

# ---- the extension goes and comes back ----

query('DROP EXTENSION smartlead CASCADE');
query('CREATE EXTENSION smartlead');
connect_sandbox($node);
is(outcome(enqueue('pause_lead', "{$ada}")), 'done|', 'a new extension has a queue that works');

$node->stop;
done_testing();
