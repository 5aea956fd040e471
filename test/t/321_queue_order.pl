# In which order jobs are performed, and what may hold up which: priorities, retries, leads, roles,
# connections.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use SmartleadSession;
use SmartleadTest;

my $node = smartlead_node('main', conf => "smartlead.databases = 'postgres'\nsmartlead.port = @{[free_port()]}");

sub query
{
	return $node->safe_psql('postgres', $_[0]);
}

# "state|sqlstate|…" of a job that has ended.
sub outcome
{
	my ($job, $columns) = @_;
	$columns ||= 'state, sqlstate';
	return query("SELECT $columns FROM smartlead_wait($job, '60 s')");
}

sub as
{
	my ($role, $sql) = @_;
	return $node->safe_psql('postgres', $sql, extra_params => [ '-U', $role ]);
}

sub queue_is_empty
{
	return $node->poll_query_until('postgres', q{SELECT NOT EXISTS (SELECT FROM smartlead_queue WHERE state IN ('ready', 'running'))});
}

sub configure
{
	my ($setting, $value) = @_;
	query("ALTER SYSTEM SET $setting = '$value'");
	query('SELECT pg_reload_conf()');
	return $node->poll_query_until('postgres', "SELECT current_setting('$setting') = '$value'");
}

# The sandbox's log, from now on: method and path of each request.
my $since = 0;

sub new_log
{
	my $log = sandbox_get('/_sandbox/log');
	$since = @$log ? $log->[-1]{n} : 0;
	return;
}

sub paths
{
	return map { "$_->{method} $_->{path}" } grep { $_->{n} > $since } @{ sandbox_get('/_sandbox/log') };
}

# Enqueues in one transaction, so that the dispatcher sees all of them at once.
sub enqueue_together
{
	return split /\n/, query('BEGIN; ' . join('; ', map { "SELECT smartlead_enqueue($_)" } @_) . '; COMMIT');
}

sub lead
{
	my ($n) = @_;
	return 3600000000 + $n;
}

sub job
{
	my ($action, $lead, $more) = @_;
	return qq{'$action', '{"campaign_id": 600001, "lead_id": @{[lead($lead)]}}'} . ($more ? ", $more" : '');
}

sub position
{
	my ($pattern, @list) = @_;
	my ($found) = grep { $list[$_] =~ $pattern } 0 .. $#list;
	return $found // -1;
}

# ---- one request at a time: the order is to be seen ----

configure('smartlead.queue_concurrency', 1);

my @bulk = map { job('pause_lead', $_) } 1 .. 20;
new_log();
enqueue_together(@bulk, job('resume_lead', 50, 'priority => 9'), job('resume_lead', 51, 'priority => 1'));
ok(queue_is_empty(), 'jobs of three priorities end');
my @paths = paths();
is(position(qr/@{[lead(51)]}/, @paths), 0, 'Q8: priority 1 goes first, though enqueued last');
is(position(qr/@{[lead(50)]}/, @paths), 21, 'Q8: priority 9 goes last');
is(join(' ', map { /(\d+)\/pause/ ? $1 - lead(0) : () } @paths), join(' ', 1 .. 20), 'Q8: equals go in the order of their numbers');

new_log();
enqueue_together(@bulk, qq{'unsubscribe_lead', '{"lead_id": @{[lead(60)]}}'});
ok(queue_is_empty(), 'updates and an unsubscribe end');
is(position(qr/unsubscribe/, paths()), 0, 'Q8: an unsubscribe goes before a bulk of other things by itself');

new_log();
enqueue_together(job('pause_lead', 70, 'priority => 9'), job('resume_lead', 70, 'priority => 1'), job('pause_lead', 70, 'priority => 5'));
ok(queue_is_empty(), 'jobs on one lead end');
is(join(' ', map { /(pause|resume)/ } paths()), 'pause resume pause', 'Q8: priorities change nothing in the order on a lead');

new_log();
enqueue_together(@bulk, job('resume_lead', 20), qq{'unsubscribe_lead', '{"lead_id": @{[lead(20)]}}'});
ok(queue_is_empty(), 'an unsubscribe behind others on its lead ends');
@paths = paths();
is(join(' ', map { m{/(\w+)$} } @paths[ 0 .. 2 ]), 'pause resume unsubscribe', 'Q8: what an urgent job waits for is as urgent');
like($paths[0], qr/@{[lead(20)]}/, 'Q8: on its lead');

foreach my $wrong (0, 10)
{
	my ($code, $out, $err) = $node->psql('postgres', 'SELECT smartlead_enqueue(' . job('pause_lead', 1, "priority => $wrong") . ')');
	like($err, qr/priority $wrong is not between 1 and 9/, "Q8: priority $wrong is refused");
}

# ---- a retry is next when it is due ----

configure('smartlead.queue_concurrency', 4);
query(q{ALTER SERVER sandbox OPTIONS (SET rate_limit '5/1s')});
sandbox_post('/_sandbox/fault', { kind => 'status', status => 503, path => '/campaigns/600001/leads/' . lead(101) . '/pause', times => 1 });
new_log();
enqueue_together(map { job('pause_lead', $_) } 101 .. 160);
ok(queue_is_empty(), '60 jobs end, one of which fails at first');
@paths = grep { m{/pause$} } paths();
is(scalar(@paths), 61, 'one was sent twice');
my $again = 1 + position(qr{/@{[lead(101)]}/}, @paths[ 1 .. $#paths ]);
cmp_ok($again, '<', 40, "Q8: a retry does not wait behind the whole backlog (it was number $again of 61)");
query(q{ALTER SERVER sandbox OPTIONS (SET rate_limit 'none')});

# ---- roles on one lead ----

configure('smartlead.queue_concurrency', 32);
query(q{CREATE ROLE alice LOGIN; CREATE ROLE bob LOGIN; CREATE ROLE carol LOGIN; GRANT smartlead_user TO alice, bob, carol;
	GRANT USAGE ON FOREIGN SERVER sandbox TO alice, bob, carol;
	CREATE USER MAPPING FOR alice SERVER sandbox OPTIONS (api_key 'revoked');
	CREATE USER MAPPING FOR bob SERVER sandbox OPTIONS (api_key 'sandbox-key-alpha');
	CREATE USER MAPPING FOR carol SERVER sandbox OPTIONS (api_key 'revoked-too')});
as('alice', 'SELECT smartlead_enqueue(' . job('pause_lead', 200) . ') FROM generate_series(1, 3)');
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM smartlead_queue_paused WHERE run_as = 'alice'::regrole}), 'a role is paused');
is(outcome(as('bob', 'SELECT smartlead_enqueue(' . job('pause_lead', 200) . ')')), 'done|', 'Q6: its jobs on a lead hold up nobody else on that lead');
is(outcome((enqueue_together(job('pause_lead', 200)))[0]), 'done|', 'Q6: whoever it is');

# ---- what can never be performed ----

as('carol', 'SELECT smartlead_enqueue(' . job('pause_lead', 201) . ') FROM generate_series(1, 3)');
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM smartlead_queue_paused WHERE run_as = 'carol'::regrole}), 'another role is paused');
my $orphan = query(q{SELECT max(id) FROM smartlead_queue WHERE run_as = 'carol'::regrole});
query('DROP OWNED BY carol; DROP USER MAPPING IF EXISTS FOR carol SERVER sandbox; DROP ROLE carol');
is(outcome($orphan), 'failed|42704', 'Q6: jobs of a role that is dropped fail');
like(query("SELECT last_error FROM smartlead_queue WHERE id = $orphan"), qr/^the role of the job, with the number \d+, does not exist any more$/,
	'Q6: and say so');
is(query("SELECT count(*) FROM smartlead_queue WHERE run_as = (SELECT run_as FROM smartlead_queue WHERE id = $orphan) AND state IN ('ready', 'running')"),
	'0', 'Q6: all of them');
connect_sandbox($node, name => 'passing', key => 'revoked');
my @orphans = split /\n/, query('SELECT smartlead_enqueue(' . job('pause_lead', 202, "connection => 'passing'") . ') FROM generate_series(1, 3)');
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM smartlead_queue_paused WHERE connection = 'passing'}), 'a connection is paused');
my $not_due = query('SELECT smartlead_enqueue(' . job('pause_lead', 203, q{connection => 'passing', run_at => now() + interval '1 day'}) . ')');
query('DROP SERVER passing CASCADE');
is(outcome($orphans[2], 'state, sqlstate, last_error'), 'failed|42704|server "passing" does not exist any more', 'Q6: jobs of a server that is dropped fail');
is(query("SELECT state FROM smartlead_queue WHERE id = $not_due"), 'ready', 'Q6: but not before they are due: until then the server may come back');

# ---- connections ----

connect_sandbox($node, name => 'free', key => 'sandbox-key-beta');
my $free = q{'pause_lead', '{"campaign_id": 810001, "lead_id": 4000000001}', connection => 'free'};
connect_sandbox($node, name => "tight$_", options => { rate_limit => '10/1h' }) foreach 1 .. 12;
query('SELECT smartlead_enqueue(' . job('pause_lead', 300, "connection => 'tight$_'") . ") FROM generate_series(1, 30)") foreach 1 .. 12;
query(q{SELECT smartlead_enqueue('get_campaign', '{"campaign_id": 600001}', connection => 'tight' || c) FROM generate_series(1, 12) c, generate_series(1, 30)});
ok($node->poll_query_until('postgres', q{SELECT count(*) > 50 FROM smartlead_queue WHERE state = 'running'}), 'many jobs wait for their limit');
is(outcome((enqueue_together($free))[0]), 'done|', 'Q9: twelve connections that wait for their limits hold up no other');
is(query(q{SELECT count(*) > 50 FROM smartlead_queue WHERE state = 'running'}), 't', 'Q9: while they still wait');
query(qq{DROP SERVER tight$_ CASCADE}) foreach 1 .. 12;

connect_sandbox($node, name => "silent$_", options => { timeout => '10min' }) foreach 1 .. 4;
sandbox_post('/_sandbox/fault', { kind => 'hang', path => '/campaigns/600001', times => 1000 });
query(qq{SELECT smartlead_enqueue('get_campaign', '{"campaign_id": 600001}', connection => 'silent$_') FROM generate_series(1, 40)}) foreach 1 .. 4;
ok($node->poll_query_until('postgres', q{SELECT count(*) >= 96 FROM smartlead_queue WHERE state = 'running' AND connection LIKE 'silent%'}),
	'four connections wait for answers that do not come');
is(outcome((enqueue_together($free))[0]), 'done|', 'Q9: which hold up no other connection either');
query(qq{DROP SERVER silent$_ CASCADE}) foreach 1 .. 4;

# ---- what is urgent and can't be performed yet ----

# Twenty thousand jobs wait for one that isn't answered, and new ones come all the time, so that those
# before the others are looked through again and again.
connect_sandbox($node, name => 'crowded', options => { timeout => '10min' });
sandbox_post('/_sandbox/fault', { kind => 'hang', path => '/campaigns/600001/leads/' . lead(400) . '/pause', times => 1000 });
my $urgent = job('pause_lead', 400, q{priority => 1, connection => 'crowded'});
query("SELECT smartlead_enqueue($urgent) FROM generate_series(1, 20000)");
my $crowd = SmartleadSession->new($node);
$crowd->start("DO 'BEGIN WHILE to_regclass(\$\$enough\$\$) IS NULL LOOP PERFORM smartlead_enqueue(@{[$urgent =~ s/'/''/gr]}); COMMIT; END LOOP; END'");
is(outcome(query('SELECT smartlead_enqueue(' . job('pause_lead', 401, q{connection => 'crowded'}) . ')')), 'done|',
	'Q8: urgent jobs that wait for another one hold up none that can be performed');
query('CREATE TABLE enough ()');
is(($crowd->finish)[1], '', 'Q8: however many come');
$crowd->quit;

$node->stop;
done_testing();
