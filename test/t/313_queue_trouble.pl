# What holds up one job holds up that job alone: locks, constraints and triggers of users, crashes. And
# jobs of which nobody told the dispatcher are found.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use SmartleadSession;
use SmartleadTest;

my $node = smartlead_node('main', conf => qq{
	smartlead.databases = 'postgres'
	smartlead.port = @{[free_port()]}
	smartlead.queue_retention = '1d'
	smartlead.connection = 'sandbox'
	max_prepared_transactions = 5
	restart_after_crash = on
	wal_writer_delay = 10s
});
my $ada = '{"campaign_id": 549768, "lead_id": 3499513771}';

sub query
{
	return $node->safe_psql('postgres', $_[0]);
}

sub create
{
	my ($name) = @_;
	return query("SELECT smartlead_enqueue('create_campaign', '{\"name\": \"$name\"}')");
}

sub outcome
{
	my ($job) = @_;
	return query("SELECT state, sqlstate FROM smartlead_wait($job, '60 s')");
}

sub times_created
{
	my ($name) = @_;
	return scalar grep { $_->{path} eq '/campaigns/create' && $_->{body} =~ /"\Q$name\E"/ } @{ sandbox_get('/_sandbox/log') };
}

sub is_running
{
	my ($job) = @_;
	return wait_until(sub { query("SELECT state FROM smartlead_queue WHERE id = $job") eq 'running' }, "job $job runs");
}

sub trouble
{
	return query(q{SELECT coalesce(trouble, '') FROM smartlead_workers WHERE worker = 'dispatcher'});
}

sub trouble_is
{
	my ($pattern, $what) = @_;
	return ok(wait_until(sub { trouble() =~ $pattern }, "trouble like $pattern") || diag(trouble()), $what);
}

# ---- Q2: locks ----

# Long enough for what is done meanwhile, on a slow machine too.
sandbox_post('/_sandbox/config', { latency_ms => 15000 });
my $slow = query("SELECT smartlead_enqueue('pause_lead', '$ada')");
ok(is_running($slow), 'a job runs');
my $holder = SmartleadSession->new($node);
is($holder->query("BEGIN;\nSELECT smartlead_cancel($slow)"), 'f', 'Q2: a running job is not cancelled');
is($holder->query("SELECT smartlead_requeue($slow)"), 'f', 'Q2: nor requeued');
is(query("SELECT id FROM smartlead_queue WHERE id = $slow FOR UPDATE NOWAIT"), $slow, 'Q2: and not locked, either');
$holder->query("SELECT FROM smartlead_queue WHERE id = $slow FOR UPDATE");
sandbox_post('/_sandbox/config', { latency_ms => 0 });
my @others = map { create("beside a lock $_") } 1 .. 3;
is(join(' ', map { outcome($_) } @others), 'done| done| done|', 'Q2: the results of others are written while a row is locked');
ok(wait_until(sub { grep { $_->{path} =~ m{/pause$} && $_->{status} == 200 } @{ sandbox_get('/_sandbox/log') } }, 'its answer has come'), 'the answer has come');
is(outcome(create('after it')), 'done|', 'Q2: also after the answer');
is(query("SELECT state FROM smartlead_queue WHERE id = $slow"), 'running', 'Q2: the locked one waits');
$holder->query('COMMIT');
is(outcome($slow), 'done|', 'Q2: until it is free');

# A shared request, of which one row is locked.
sandbox_post('/_sandbox/config', { latency_ms => 10000 });
my @shared = split /\n/, query(q{SELECT smartlead_enqueue('block_domain', jsonb_build_object('domain', 'lock' || i || '.example')) FROM generate_series(1, 20) i});
ok(is_running($shared[7]), 'jobs that share a request run');
$holder->query("BEGIN;\nSELECT FROM smartlead_queue WHERE id = $shared[7] FOR UPDATE");
sandbox_post('/_sandbox/config', { latency_ms => 0 });
is(outcome($shared[6]), 'done|', 'Q2: one of them is done');
ok(wait_until(sub { query(q{SELECT count(*) FROM smartlead_queue WHERE args->>'domain' LIKE 'lock%' AND state = 'done'}) eq '19' }, '19 are done'),
	'Q2: all but the one that is locked');
$holder->query('ROLLBACK');
is(outcome($shared[7]), 'done|', 'Q2: which follows');

# ---- Q3: what users put on the table ----

my $kept = create('kept');
is(outcome($kept), 'done|', 'a job');
query("CREATE TABLE notes (job bigint REFERENCES smartlead_queue, note text); INSERT INTO notes VALUES ($kept, 'mine');
	UPDATE smartlead_queue SET finished_at = now() - interval '30 days' WHERE finished_at IS NOT NULL");
$node->restart;
ok(wait_until(sub { query(q{SELECT count(*) FROM smartlead_queue WHERE finished_at < now() - interval '20 days'}) eq '1' }, 'old jobs go'),
	'Q3: old jobs are deleted, but for the one that is referred to');
trouble_is(qr/old jobs can't be deleted: .*violates foreign key/, 'Q3: which is told');
is(outcome(create('with a reference')), 'done|', 'Q3: and jobs are performed');
query(q{DROP TABLE notes;
	CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN IF NEW.args->>'name' = 'bad' AND NEW.state = 'running' OR NEW.args->>'name' = 'worse' AND NEW.state = 'done' THEN RAISE 'not this one'; END IF; RETURN NEW; END $$;
	CREATE TRIGGER fail BEFORE UPDATE ON smartlead_queue FOR EACH ROW EXECUTE FUNCTION fail()});
my ($bad, $worse) = (create('bad'), create('worse'));
@others = map { create("beside a trigger $_") } 1 .. 3;
is(join(' ', map { outcome($_) } @others), 'done| done| done|', 'Q3: a trigger that fails for some rows holds up those alone');
trouble_is(qr/job \d+ can't be (?:taken up|written): not this one/, 'Q3: which is told');
ok(wait_until(sub { times_created('worse') == 1 }, 'the worse one is sent'), 'Q3: one whose result cannot be written is performed');
is(query("SELECT state FROM smartlead_queue WHERE id IN ($bad, $worse) ORDER BY id"), "ready\nrunning", 'Q3: they wait');
query('DROP TRIGGER fail ON smartlead_queue');
is(join(' ', map { outcome($_) } $bad, $worse), 'done| done|', 'Q3: until the trigger is gone');
is(times_created('worse'), 1, 'Q3: and nothing was done twice');
query(q{CREATE CONSTRAINT TRIGGER fail AFTER UPDATE ON smartlead_queue DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION fail()});
$bad = create('bad');
is(outcome(create('beside a deferred trigger')), 'done|', 'Q3: a deferred one likewise');
query('DROP TRIGGER fail ON smartlead_queue');
is(outcome($bad), 'done|', 'Q3: and again');

# ---- a trigger on the pauses that fails ----

connect_sandbox($node, name => 'refused', key => 'never-valid');
query(q{CREATE FUNCTION fail_pause() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no pauses'; END $$;
	CREATE TRIGGER fail BEFORE INSERT OR DELETE ON smartlead_queue_paused FOR EACH ROW EXECUTE FUNCTION fail_pause()});
my $refused = query(q{SELECT smartlead_enqueue('create_campaign', '{"name": "refused"}', connection => 'refused')});
trouble_is(qr/the pause of connection "refused" can't be written or ended: no pauses/, 'Q3: a trigger that fails for a pause is told');
is(outcome(create('beside an unwritten pause')), 'done|', 'Q3: and holds up no other connection');
is(query("SELECT state FROM smartlead_queue WHERE id = $refused"), 'ready', 'Q3: the paused one waits all the same');
query(q{DROP TRIGGER fail ON smartlead_queue_paused;
	ALTER USER MAPPING FOR CURRENT_USER SERVER refused OPTIONS (SET api_key 'sandbox-key-alpha')});
is(outcome($refused), 'done|', 'Q3: until its key is changed');
query('DROP SERVER refused CASCADE');

# ---- Q10: jobs of which nobody told ----

query(q{BEGIN; SELECT smartlead_enqueue('create_campaign', '{"name": "prepared"}'); PREPARE TRANSACTION 'p'});
query(q{COMMIT PREPARED 'p'});
ok(wait_until(sub { times_created('prepared') == 1 }, 'the job of COMMIT PREPARED is done'), 'Q10: the job of COMMIT PREPARED is noticed');

# ---- Q12: a claim is durable before the request leaves ----

query('ALTER SYSTEM SET synchronous_commit = off');
query('SELECT pg_reload_conf()');
is(outcome(create('reloaded')), 'done|', 'without synchronous commits');
sandbox_post('/_sandbox/fault', { kind => 'hang', path => '/campaigns/create' });
my $durable = query(q{SET synchronous_commit = on; SELECT smartlead_enqueue('create_campaign', '{"name": "durable"}')});
ok(wait_until(sub { times_created('durable') == 1 }, 'the request'), 'a request is under way');
my $postmaster = $node->{_pid};
$node->kill9;
ok(wait_until(sub { !kill 0, $postmaster }, 'the postmaster is gone'), 'the server is gone');
ok(wait_until(sub { $node->start(fail_ok => 1) }, 'the server starts again'), 'and back');
is(outcome($durable), 'failed|SL520', 'Q12: what was sent is known after a crash');
is(times_created('durable'), 1, 'Q12: and is not sent again');
query('ALTER SYSTEM RESET synchronous_commit');
query('SELECT pg_reload_conf()');

# ---- R12: a cancelled dispatcher ----

# A cancellation is for a statement: between them there is nothing to cancel, and what was sent is waited for.
sandbox_post('/_sandbox/fault', { kind => 'delay', delay_ms => 3000, path => '/campaigns/create', times => 1 });
my $cancelled = create('Cancelled');
ok($node->poll_query_until('postgres', "SELECT state = 'running' FROM smartlead_queue WHERE id = $cancelled"), 'a job is under way');
my $dispatcher = query(q{SELECT pid FROM smartlead_workers WHERE worker = 'dispatcher'});
query("SELECT pg_cancel_backend($dispatcher)");
is(outcome($cancelled), 'done|', 'R12: a cancelled dispatcher waits for what it has sent');
is(query(q{SELECT pid FROM smartlead_workers WHERE worker = 'dispatcher'}), $dispatcher, 'R12: and has not ended');

# ---- Q13: a job that takes the server down with it ----

sandbox_post('/_sandbox/fault', { kind => 'hang', path => '*/pause', times => -1 });
my $poison = query("SELECT smartlead_enqueue('pause_lead', '$ada')");
foreach my $time (1 .. 5)
{
	is_running($poison) or last;
	my $pid = query(q{SELECT pid FROM smartlead_workers WHERE worker = 'dispatcher'});
	kill 'KILL', $pid;
	wait_until(sub { my ($code, $out) = $node->psql('postgres', "SELECT interrupted FROM smartlead_queue WHERE id = $poison");
			$code == 0 && $out eq $time }, "the job was interrupted $time times") or last;
	# Its turn comes later each time.
	query("UPDATE smartlead_queue SET due_at = now() WHERE id = $poison AND state = 'ready'; SELECT smartlead_enqueue('get_campaign', '{\"campaign_id\": 1}')");
}
is(outcome($poison), 'failed|SL520', 'Q13: a job that ends the dispatcher again and again is given up');
like(query("SELECT last_error FROM smartlead_queue WHERE id = $poison"), qr/went down 5 times while the job was running/, 'Q13: and says why');
is(query("SELECT smartlead_requeue($poison)"), 't', 'Q13: it may be tried anew');
is(query("SELECT interrupted FROM smartlead_queue WHERE id = $poison"), '0', 'Q13: from the beginning');
query("SELECT smartlead_cancel($poison)");

$node->stop('immediate');
done_testing();
