# What users' triggers, locks, listeners and readers do to the receiver, and what it does then.
use strict;
use warnings;

use IO::Socket::INET;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use SmartleadSession;
use SmartleadTest;
use WebhookTest;

my ($node, $port) = webhook_node('robust', settings => "smartlead.trigger_timeout = '700ms'\nmax_prepared_transactions = 2");
my $url = webhook_url($node);
my $number = 0;

sub event
{
	my ($mark) = @_;
	return { event_type => 'EMAIL_OPEN', stats_id => 's' . ++$number, subject => $mark || 'plain',
		lead_email => 'ada@clinic.example', campaign_id => 1, event_timestamp => '2026-03-03T09:00:00Z' };
}

sub trigger
{
	my ($body) = @_;
	return $node->safe_psql('postgres', "SET ROLE app; CREATE OR REPLACE FUNCTION work.act() RETURNS trigger LANGUAGE plpgsql AS \$\$ BEGIN $body RETURN NEW; END \$\$;");
}

sub empty
{
	return $node->safe_psql('postgres', 'DELETE FROM smartlead_failed_events; DELETE FROM smartlead_events; DELETE FROM smartlead_event_keys');
}

$node->safe_psql('postgres', q{CREATE SCHEMA work; GRANT ALL ON SCHEMA work TO app;});
trigger('');
$node->safe_psql('postgres', q{SET ROLE app; CREATE TRIGGER act BEFORE INSERT ON smartlead_events FOR EACH ROW EXECUTE FUNCTION work.act();});

# Notifications
my $listener = SmartleadSession->new($node);
$listener->query('LISTEN smartlead_events');
is(send_event($url, event()), 200, 'an event');
is(send_event($url, { %{ event() }, lead_email => "\x01" x 1000 . '@x.example', event_type => 'EMAIL_OPEN' }), 200, 'R8: a lead of a thousand control characters');
is(event_counts($node), '2/0', 'R8: is stored');
my ($said) = $listener->query('SELECT 1');
like($said, qr/with payload "\{"id":\d+,"type":"EMAIL_OPEN"\}"/, 'S11: a notification tells id and kind');
unlike($said, qr/clinic|campaign|lead_(?:id|email)/, 'S11: and nothing else');
is(send_event($url, { %{ event() }, event_type => "\x02" x 5000 }), 200, 'R8: a kind of five thousand control characters');
is($node->safe_psql('postgres', 'SELECT count(*) FROM smartlead_failed_events'), 0, 'R8: does not fail');
$listener->quit;

# Whatever a trigger throws is the trigger's
for my $code ('53100', '53200', '58030', '25006', '57P01', '55000', '42P01')
{
	empty();
	trigger("IF NEW.subject = 'fail' THEN RAISE EXCEPTION 'mine' USING ERRCODE = '$code'; END IF;");
	is(send_at_once($url, event(), event('fail'), event()), '200 200 200', "R5: a trigger that throws $code: answered");
	is(event_counts($node), '2/1', "R5: $code: put aside");
	is(http_request('GET', "http://127.0.0.1:$port/healthz")->{status}, 200, "R5: $code: the receiver is healthy");
}

# Two that won't be stopped
empty();
trigger(q{IF NEW.subject = 'stubborn' THEN
	LOOP BEGIN PERFORM pg_sleep(3600); EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP; END IF;});
my @stubborn = map { event('stubborn') } 1 .. 3;
my $starts = $node->safe_psql('postgres', q{SELECT starts FROM smartlead_workers WHERE worker = 'receiver'});
for my $round (1 .. 2)
{
	for my $event (@stubborn)
	{
		ok(wait_until(sub { send_event($url, $event) == 200 }, 'an answer', 120), 'R11: one of three stubborn triggers: answered in the end');
	}
}
is($node->safe_psql('postgres', 'SELECT count(DISTINCT payload->>\'stats_id\') FROM smartlead_failed_events'), 3, 'R11: all are put aside');
cmp_ok($node->safe_psql('postgres', q{SELECT starts FROM smartlead_workers WHERE worker = 'receiver'}) - $starts, '<=', 3,
	'R11: the receiver was ended once for each');
# One that never looks whether it is to end, for as long as an expression takes
my $deaf = event('deaf');
trigger(q{IF NEW.subject = 'deaf' THEN
	DECLARE a text; b text;
	BEGIN
		BEGIN PERFORM pg_sleep(3600); EXCEPTION WHEN query_canceled THEN NULL; END;
		a := repeat(repeat('x', 1000), 4000);
		b := } . join(' || ', ('md5(a)') x 600) . q{;
	END; END IF;});
my $unanswered = send_beside($url, $deaf);
ok($node->poll_query_until('postgres', q{SELECT trouble LIKE 'a trigger goes on beyond%' FROM smartlead_workers WHERE worker = 'receiver'}),
	'R11: a trigger that never looks whether it is to end is told');
isnt(status_of($unanswered), 200, 'R11: its event is not answered');
ok(wait_until(sub { send_event($url, $deaf) == 200 }, 'an answer', 120), 'R11: but when it comes again');
trigger('');

# A cancelled launcher
my $before = $node->safe_psql('postgres', q{SELECT string_agg(pid::text, ' ' ORDER BY worker) FROM smartlead_workers});
$node->safe_psql('postgres', q{SELECT pg_cancel_backend(pid) FROM smartlead_workers WHERE worker = 'launcher'});
$node->safe_psql('postgres', 'ALTER SYSTEM SET smartlead.receivers = 2');
$node->reload;
ok($node->poll_query_until('postgres', q{SELECT count(*) = 2 FROM smartlead_workers WHERE worker = 'receiver' AND state = 'running'}), 'R12: the launcher heeds a reload');
is($node->safe_psql('postgres', q{SELECT string_agg(pid::text, ' ' ORDER BY worker) FROM smartlead_workers WHERE number = 0}), $before,
	'R12: and a cancellation has ended neither it nor its workers');

# Somebody else on the port, who lets others of the same user in
SKIP:
{
	my $other = eval { IO::Socket::INET->new(Listen => 5, LocalAddr => '127.0.0.1', ReusePort => 1) };
	skip 'no SO_REUSEPORT', 2 unless $other;
	$node->safe_psql('postgres', 'ALTER SYSTEM SET smartlead.port = ' . $other->sockport);
	$node->reload;
	ok($node->poll_query_until('postgres', q{SELECT count(*) = 2 FROM smartlead_workers WHERE worker = 'receiver' AND trouble LIKE '%Address already in use%'}),
		'R10: several receivers do not share a port with strangers');
	is(send_event($url, event()), 200, 'R10: they stay where they were');
	my $at = $other->sockport;
	close $other;
	$node->reload;
	ok($node->poll_query_until('postgres', qq{SELECT count(*) = 2 FROM smartlead_workers WHERE worker = 'receiver' AND port = $at AND trouble IS NULL}),
		'R10: and share it with each other when it is free');
	$node->safe_psql('postgres', 'ALTER SYSTEM RESET smartlead.port');
	$node->reload;
	ok($node->poll_query_until('postgres', qq{SELECT count(*) = 2 FROM smartlead_workers WHERE worker = 'receiver' AND port = $port AND trouble IS NULL}), 'and back');
}

# Reading on, while lower ids are still to come
empty();
ids_by_hand($node);
my $last = $node->safe_psql('postgres', 'SELECT last_value FROM smartlead_event_id_seq');
my $reader = 'SET ROLE reader; SELECT string_agg(stats_id, \' \' ORDER BY id) FROM smartlead_new_events(%s)';
$node->safe_psql('postgres', 'CREATE ROLE reader; GRANT smartlead_admin TO reader');
my $read = sub { return $node->safe_psql('postgres', sprintf($reader, $_[0] // $last)) };
my $manual = SmartleadSession->new($node);
# A failed event, to be tried again: what takes an id of the sequence in a transaction of somebody's own
my $fails = sub
{
	my ($stats_id) = @_;
	$node->safe_psql('postgres', "INSERT INTO smartlead_failed_events (received_at, connection, webhook, sqlstate, error, payload)
		SELECT now(), 'hooks', max(id), 'XX000', 'made up', jsonb_build_object('event_type', 'EMAIL_OPEN', 'stats_id', '$stats_id',
			'campaign_id', 1, 'event_timestamp', '2026-03-03T09:00:00Z') FROM smartlead_webhooks WHERE subscriber = 'app'::regrole");
	return;
};
my $again = 'SELECT smartlead_retry_event(id) FROM smartlead_failed_events';
$manual->query(q{BEGIN; INSERT INTO smartlead_events (connection, stats_id, fingerprint, event_at, payload) VALUES ('hooks', 'manual', gen_random_uuid(), now(), '{}')});
$manual->query(q{CREATE TABLE work.other (id int); LOCK TABLE work.other});
is(send_event($url, { %{ event() }, stats_id => 'first' }), 200, 'an event beside an insertion and a lock of somebody else');
is($read->(), 'first', 'it is told: neither holds a reader up');
$manual->query('COMMIT');
is($read->(), 'first', 'nor has the insertion an id that comes after it');
$fails->('low');
$manual->query("BEGIN; $again");
is(send_event($url, { %{ event() }, stats_id => 'high' }), 200, 'an event after one that is being tried again');
is($node->safe_psql('postgres', q{SELECT string_agg(stats_id, ' ') FROM smartlead_events WHERE id > 0}), 'first high', 'R13: the higher id is there first');
is($read->(), 'first', 'R13: but not told yet');
$manual->query('COMMIT');
is($read->(), 'first low high', 'R13: both are told when the lower one is there');
$fails->('undone');
$manual->query("BEGIN; SAVEPOINT s; $again; ROLLBACK TO s");
is(send_event($url, { %{ event() }, stats_id => 'third' }), 200, 'an event beside one that was undone');
is($read->(), 'first low high third', 'R13: what was undone is waited for no more');
$manual->query("$again");
is($read->(), 'first low high', 'R13: done once more, it is, from where its transaction began on');
$manual->query('ROLLBACK');
# One mark a transaction
$node->safe_psql('postgres', q{ALTER SYSTEM SET smartlead.trigger_timeout = '60s'; });
$node->safe_psql('postgres', q{SELECT pg_reload_conf()});
trigger(q{IF NEW.subject = 'fail' THEN RAISE EXCEPTION 'mine'; END IF; IF NEW.subject = 'slow' THEN PERFORM pg_advisory_xact_lock(2); END IF;});
my $blocker = SmartleadSession->new($node);
$blocker->query('SELECT pg_advisory_lock(2)');
my $floor = $node->safe_psql('postgres', 'SELECT last_value FROM smartlead_event_id_seq');
my $both = do { open my $pipe, '-|' or do { print send_body($url, JSON::PP->new->encode([ event('fail'), (map { event() } 1 .. 10), event('slow') ])); close STDOUT; POSIX::_exit(0); }; $pipe };
$node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'smartlead receiver' AND wait_event = 'advisory'});
is($node->safe_psql('postgres', q{SELECT min(objid::bigint) FROM pg_locks WHERE locktype = 'userlock'}) >= $floor ? 1 : 0, 1, 'R13: a mark tells above which id a batch is');
cmp_ok($node->safe_psql('postgres', q{SELECT min(objid::bigint) FROM pg_locks WHERE locktype = 'userlock'}), '<=',
	$node->safe_psql('postgres', q{SELECT last_value - 12 FROM smartlead_event_id_seq}), 'R13: no id of a batch is lower than what the receiver has marked');
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_locks WHERE locktype = 'userlock'}), 1, 'review: one mark a transaction, however many statements it has');
$blocker->query('SELECT pg_advisory_unlock(2)');
is(status_of($both), 200, 'the batch is stored');
$blocker->quit;
trigger('');
empty();
$last = $node->safe_psql('postgres', 'SELECT last_value FROM smartlead_event_id_seq');
# Prepared transactions, which can hold no notifications
$node->safe_psql('postgres', 'ALTER SYSTEM SET smartlead.notify_events = off');
$node->reload;
ok(wait_until(sub { $manual->query('SHOW smartlead.notify_events') eq 'off' }, 'no notifications'), 'without notifications');
$fails->('prepared');
$manual->query("BEGIN; $again; PREPARE TRANSACTION 'later'");
is(send_event($url, { %{ event() }, stats_id => 'after' }), 200, 'an event after one that is prepared');
is($read->(), '', 'R13: a prepared transaction is waited for');
$node->safe_psql('postgres', q{COMMIT PREPARED 'later'});
is($read->(), 'prepared after', 'R13: then it is told first');
$node->safe_psql('postgres', 'ALTER SYSTEM RESET smartlead.notify_events');
# A copy of the database, whose tables have the same numbers
$_->quit for $manual;
$fails->('twin');
$node->safe_psql('postgres', q{ALTER SYSTEM SET smartlead.databases = ''});
$node->reload;
ok(wait_until(sub { ($node->psql('template1', 'CREATE DATABASE twin TEMPLATE postgres'))[0] == 0 }, 'a copy'), 'a copy of the database');
$node->safe_psql('postgres', q{DELETE FROM smartlead_failed_events; ALTER SYSTEM SET smartlead.databases = 'postgres'});
$node->reload;
$manual = SmartleadSession->new($node, database => 'twin');
$manual->query("BEGIN; $again");
receiver_listens($port);
is(send_event($url, { %{ event() }, stats_id => 'here' }), 200, 'an event here');
is($read->(), 'prepared after here', 'R13: what goes on in a copy of the database holds nobody up');
$manual->quit;
$node->safe_psql('postgres', 'DROP DATABASE twin WITH (FORCE)');
$manual = SmartleadSession->new($node);
ok($node->poll_query_until('postgres', q{SELECT count(*) = 2 FROM smartlead_workers WHERE worker = 'receiver' AND state = 'running'}), 'two receivers again');
like(($node->psql('postgres', 'BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT * FROM smartlead_new_events(0)'))[2], qr/READ COMMITTED/, 'R13: where it cannot be told, it is said');
# Receivers whose insertions last: the reader goes on up to their first ids.
$node->safe_psql('postgres', q{ALTER SYSTEM SET smartlead.trigger_timeout = '60s'; });
$node->safe_psql('postgres', q{SELECT pg_reload_conf()});
trigger(q{IF NEW.subject = 'slow' THEN PERFORM pg_advisory_xact_lock(1); END IF;});
my $holder = SmartleadSession->new($node);
$holder->query('SELECT pg_advisory_lock(1)');
my $slow = send_beside($url, { %{ event('slow') }, stats_id => 'slow' });
$node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'smartlead receiver' AND wait_event = 'advisory'});
my (@beside, $done);
# The other receiver takes some of them.
ok(wait_until(sub {
	push @beside, send_beside($url, { %{ event() }, stats_id => 'beside' });
	return $node->safe_psql('postgres', q{SELECT count(*) FROM smartlead_events WHERE stats_id = 'beside'}) > 0;
}, 'an event beside the slow one'), 'another receiver stores an event meanwhile');
unlike($read->(), qr/slow|beside/, 'R13: it is not told before the slow one');
$holder->query('SELECT pg_advisory_unlock(1)');
is(status_of($slow), 200, 'the slow one is stored');
status_of($_) for @beside;
like($read->(), qr/^prepared after here slow beside/, 'R13: then both are told');
# The same event to two receivers: the one waits for what becomes of the other's.
$holder->query('SELECT pg_advisory_lock(1)');
my %twice = (%{ event('slow') }, stats_id => 'twice');
my @twice = map { send_beside($url, \%twice) } 1 .. 6;
ok($node->poll_query_until('postgres', q{SELECT count(*) FILTER (WHERE wait_event = 'advisory') = 1 FROM pg_stat_activity WHERE backend_type = 'smartlead receiver'}), 'a receiver stores it');
$holder->query('SELECT pg_advisory_unlock(1)');
is(join(' ', map { status_of($_) } @twice), join(' ', (200) x 6), 'an event six times at once, with two receivers');
is($node->safe_psql('postgres', q{SELECT count(*) FROM smartlead_events WHERE stats_id = 'twice'}), 1, 'is stored once');
# Reading on under load: nothing is missed.
trigger(q{PERFORM pg_sleep(random() * 0.02);});
my $upto = $node->safe_psql('postgres', 'SELECT max(id) FROM smartlead_events');
my @senders = map { my $n = $_; my $pid = fork // die; if ($pid == 0) { send_event($url, event("load$n")) for 1 .. 25; POSIX::_exit(0); } $number += 25; $pid } 1 .. 4;
my (@got, $running);
my $session = SmartleadSession->new($node);
do
{
	$running = grep { kill(0, $_) && waitpid($_, POSIX::WNOHANG()) == 0 } @senders;
	my ($rows) = $session->query("SELECT id FROM smartlead_new_events($upto, 7)");
	my @ids = split /\n/, $rows;
	push @got, @ids;
	$upto = $ids[-1] if @ids;
	$running ||= @ids;
} while ($running);
wait_until(sub { my ($rows) = $session->query("SELECT id FROM smartlead_new_events($upto)"); my @ids = split /\n/, $rows; push @got, @ids; $upto = $ids[-1] if @ids;
	return $upto == $node->safe_psql('postgres', 'SELECT max(id) FROM smartlead_events'); }, 'the rest');
is(scalar @got, 100, 'R13: a reader under load gets all events, each once');
$_->quit for $manual, $holder, $session;
trigger('');
$node->safe_psql('postgres', q{ALTER SYSTEM RESET smartlead.receivers; ALTER SYSTEM RESET smartlead.trigger_timeout});
$node->reload;
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM smartlead_workers WHERE worker = 'receiver' AND state = 'running'}), 'one receiver again');

# Requests of which each is tried alone. Two of the attempts wait for us, so that a question comes while the first
# one waits, and is answered before the second one goes on.
empty();
$node->safe_psql('postgres', q{CREATE SEQUENCE work.attempt; GRANT ALL ON SEQUENCE work.attempt TO app; ALTER SYSTEM SET smartlead.trigger_timeout = '600s'});
$node->reload;
trigger(q{IF NEW.subject = 'again' THEN
	CASE nextval('work.attempt') WHEN 14 THEN PERFORM pg_advisory_xact_lock(3); WHEN 40 THEN PERFORM pg_advisory_xact_lock(4); ELSE NULL; END CASE;
	RAISE EXCEPTION 'again' USING ERRCODE = 'serialization_failure'; END IF;});
my @gates = map { my $gate = SmartleadSession->new($node); $gate->query("SELECT pg_advisory_lock($_)"); $gate } 3, 4;
my @again = map { send_beside($url, event('again')) } 1 .. 24;
my $waits_at = sub { return $node->poll_query_until('postgres',
		"SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 AND objid = $_[0] AND NOT granted)") };
ok($waits_at->(3), 'some of the requests have been tried, others wait');
my $health = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port) or die "no connection: $!";
syswrite $health, "GET /healthz HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n";
$gates[0]->query('SELECT pg_advisory_unlock(3)');
ok($waits_at->(4), 'more of them have been tried');
my $readable = '';
vec($readable, fileno $health, 1) = 1;
ok(select($readable, undef, undef, 30) && <$health> =~ m{^HTTP/1.1 200 }, 'R12: others are served between the requests that are tried alone');
$gates[1]->query('SELECT pg_advisory_unlock(4)');
is(join(' ', map { status_of($_) } @again), join(' ', (200) x 24), 'R12: all of which are answered');
is(event_counts($node), '0/24', 'R12: and put aside');
$_->quit foreach @gates;
trigger('');
$node->safe_psql('postgres', q{ALTER SYSTEM RESET smartlead.trigger_timeout});
$node->reload;

# Locked tokens
my $locker = SmartleadSession->new($node);
my $new_url = webhook_url($node);
is(send_event($new_url, event()), 200, 'an event with a new token');
$locker->query('BEGIN; SELECT smartlead_webhook_url(\'hooks\'); COMMIT; BEGIN; LOCK smartlead_webhook_tokens');
ok(wait_until(sub { send_event($new_url, event()) == 503 }, '503'), 'R12: while the tokens are locked, senders are told to come again');
is(http_request('GET', "http://127.0.0.1:$port/nothing")->{status}, 503, 'R12: all of them');
$locker->query('COMMIT');
ok(wait_until(sub { send_event($new_url, event()) == 200 }, '200'), 'R12: and are served when they are not');

# Recording waits for no lock for ever
empty();
trigger(q{IF NEW.subject = 'fail' THEN RAISE EXCEPTION 'no'; END IF;});
$locker->query('BEGIN; LOCK smartlead_failed_events');
is(send_event($new_url, event('fail')), 503, 'R12: a failed event that cannot be put aside: come again');
$locker->query('COMMIT');
$locker->quit;
is(send_event($new_url, event('fail')), 200, 'R12: it is put aside when it can');

# A body that can't be held, without the secret that it must have
my $webhook = $node->safe_psql('postgres', q{SET ROLE app; SELECT max(id) FROM smartlead_webhooks WHERE subscriber = 'app'::regrole});
empty();
my $unfit = '{"event_type":"X","n":1e' . '9' x 6 . '}';
my $kept = send_body($new_url, $unfit);
is($kept . ' ' . event_counts($node), '200 0/1', 'a body that jsonb cannot hold is put aside');
$node->safe_psql('postgres', "SET ROLE app; SELECT smartlead_secure_webhook($webhook, secret_key => 'abc')");
ok(wait_until(sub { send_body($new_url, '{"event_type":"X"}') == 401 }, '401'), 'a secret is demanded');
is(send_body($new_url, $unfit), 401, 'R12: from a body that jsonb cannot hold as well');
is(event_counts($node), '0/1', 'R12: it is not kept');
$node->safe_psql('postgres', "SET ROLE app; SELECT smartlead_secure_webhook($webhook)");
ok(wait_until(sub { send_event($new_url, event()) == 200 }, '200'), 'no secret is demanded any more');

# Tables that are not as we know them
empty();
$node->safe_psql('postgres', 'ALTER TABLE smartlead_events ALTER lead_name TYPE varchar(5)');
is(send_event($new_url, event()), 503, 'R12: a column of another type: come again');
$node->safe_psql('postgres', 'ALTER TABLE smartlead_events ALTER lead_name TYPE text');
ok(wait_until(sub { send_event($new_url, event()) == 200 }, '200'), 'R12: mended');
is($node->safe_psql('postgres', 'SELECT count(*) FROM smartlead_failed_events'), 0, 'R12: nothing was put aside for it');

# Retention
$node->safe_psql('postgres', q{DROP TRIGGER act ON smartlead_events});
empty();
$node->safe_psql('postgres', q{
	INSERT INTO smartlead_events (received_at, connection, stats_id, fingerprint, event_at, payload)
		SELECT now() - interval '2 days', 'hooks', n, gen_random_uuid(), now(), '{}' FROM generate_series(1, 1200) AS n;
	CREATE TABLE work.mine (event bigint REFERENCES smartlead_events);
	INSERT INTO work.mine SELECT id FROM smartlead_events WHERE stats_id IN ('1', '2', '700');
	ALTER SYSTEM SET smartlead.event_retention = '1d'});
$node->reload;
ok($node->poll_query_until('postgres', 'SELECT count(*) = 3 FROM smartlead_events'), 'R9: all go but those that a foreign key refers to');
ok($node->poll_query_until('postgres', q{SELECT trouble LIKE '%(3)%foreign key%' FROM smartlead_workers WHERE worker = 'housekeeper'}), 'R9: which are told');
$node->safe_psql('postgres', q{DROP TABLE work.mine; ALTER TABLE smartlead_events FORCE ROW LEVEL SECURITY;
	CREATE POLICY nothing ON smartlead_events AS RESTRICTIVE FOR DELETE USING (false)});
$node->reload;
ok($node->poll_query_until('postgres', q{SELECT trouble LIKE '%(3)%row security%' FROM smartlead_workers WHERE worker = 'housekeeper'}), 'R9: row security in the way is told');
$node->safe_psql('postgres', q{DROP POLICY nothing ON smartlead_events});
$node->reload;
ok($node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM smartlead_events'), 'R9: without it they go');
ok($node->poll_query_until('postgres', q{SELECT trouble IS NULL FROM smartlead_workers WHERE worker = 'housekeeper'}), 'R9: and there is no trouble');

$node->stop;
done_testing();
