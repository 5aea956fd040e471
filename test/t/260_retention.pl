# Events that are old enough go, a few at a time, by a worker of its own, and nothing that a trigger does
# keeps others from being served or removed.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use SmartleadSession;
use SmartleadTest;
use WebhookTest;

my ($node, $port) = webhook_node('retention', settings => 'restart_after_crash = on');
my $url = webhook_url($node);
ids_by_hand($node);

sub old_events
{
	my ($n) = @_;
	$node->safe_psql('postgres', qq{
		INSERT INTO smartlead_events (received_at, connection, fingerprint, event_at, payload)
			SELECT now() - interval '2 days', 'hooks', gen_random_uuid(), now(), '{}' FROM generate_series(1, $n);
		INSERT INTO smartlead_failed_events (received_at, connection, payload, sqlstate, error)
			SELECT now() - interval '2 days', 'hooks', '{}', 'P0001', 'x' FROM generate_series(1, $n);});
	return;
}

sub housekeeper
{
	my ($column) = @_;
	return $node->safe_psql('postgres', "SELECT $column FROM smartlead_workers WHERE worker = 'housekeeper' AND state = 'running'");
}

# Is it within a trigger that waits for the advisory lock?
sub is_held_up
{
	return $node->safe_psql('postgres', q{SELECT wait_event = 'advisory' FROM pg_stat_activity WHERE backend_type = 'smartlead housekeeper'}) eq 't';
}

# Another trigger, in the place of the former one
sub on_delete
{
	my ($body) = @_;
	$node->safe_psql('postgres', qq{DROP TRIGGER IF EXISTS keep ON smartlead_events; SET ROLE app;
		CREATE OR REPLACE FUNCTION work.keep() RETURNS trigger LANGUAGE plpgsql AS \$\$ BEGIN $body RETURN OLD; END \$\$;
		CREATE TRIGGER keep BEFORE DELETE ON smartlead_events FOR EACH ROW EXECUTE FUNCTION work.keep();});
	return;
}

sub set
{
	$node->safe_psql('postgres', join '', map { "ALTER SYSTEM SET $_;" } @_);
	$node->reload;
	return;
}

sub keep_for
{
	my ($time) = @_;
	$node->safe_psql('postgres', "ALTER SYSTEM SET smartlead.event_retention = '$time'");
	$node->reload;
	return;
}

old_events(2345);
is(send_event($url, { event_type => 'X', n => 1 }), 200, 'a young event');
is(event_counts($node), '2346/2345', 'kept for ever, if nothing is said');
keep_for('3d');
is(send_event($url, { event_type => 'X', n => 2 }), 200, 'another one');
is(event_counts($node), '2347/2345', 'kept for three days');
keep_for('1d');
ok($node->poll_query_until('postgres', 'SELECT count(*) = 2 FROM smartlead_events'), 'after one day they go');
is(event_counts($node), '2/0', 'the failed ones too');

$node->safe_psql('postgres', q{
	CREATE SCHEMA work; GRANT ALL ON SCHEMA work TO app; SET ROLE app;
	CREATE FUNCTION work.keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'mine, says %', current_user; END $$;
	CREATE TRIGGER keep BEFORE DELETE ON smartlead_events FOR EACH ROW EXECUTE FUNCTION work.keep();});
old_events(10);
$node->reload;
ok(wait_until(sub { log_has($node, qr/mine, says smartlead_admin/) }, 'the error'), 'a trigger that fails is told of in the log, and ran as smartlead_admin');
is(send_event($url, { event_type => 'X', n => 3 }), 200, 'and the receiver goes on');
is(event_counts($node), '13/0', 'R9: what it keeps stays, the failed ones go');
$node->safe_psql('postgres', 'DROP TRIGGER keep ON smartlead_events');
$node->reload;
ok($node->poll_query_until('postgres', 'SELECT count(*) = 3 FROM smartlead_events'), 'until nothing is in the way');

# Its role by another name
$node->safe_psql('postgres', 'ALTER ROLE smartlead_admin RENAME TO "the boss"');
old_events(10);
$node->reload;
ok(wait_until(sub { event_counts($node) eq '3/0' }, 'old events to go'), 'S8: they go though smartlead_admin has another name');
is($node->safe_psql('postgres', q{SELECT trouble FROM smartlead_workers WHERE worker = 'housekeeper'}), '', 'S8: without trouble');
$node->safe_psql('postgres', 'ALTER ROLE "the boss" RENAME TO smartlead_admin');

# Nobody waits for it
set("smartlead.trigger_timeout = '10min'");
on_delete('PERFORM pg_advisory_xact_lock(1);');
my $holder = SmartleadSession->new($node);
$holder->query('SELECT pg_advisory_lock(1)');
old_events(1);
$node->reload;
ok(wait_until(\&is_held_up, 'the trigger to wait'), 'a trigger on DELETE that takes its time');
is(send_event($url, { event_type => 'X', n => 4 }), 200, 'E4: the receiver serves meanwhile');
ok(is_held_up(), 'E4: and the trigger is still at it');
my $pid = housekeeper('pid');
$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
ok(wait_until(sub { housekeeper('pid') !~ /^(?:$pid)?$/ }, 'another housekeeper'), 'E4: a housekeeper that is ended in the midst of a trigger comes back');
ok(wait_until(\&is_held_up, 'the trigger to wait'), 'E4: and goes on');
$holder->query('SELECT pg_advisory_unlock(1)');
ok(wait_until(sub { event_counts($node) eq '4/0' }, 'the old event to go'), 'E4: until it is done');

# What is in the way of one step is not in the way of the others
keep_for(0);
old_events(700);
$holder->query('BEGIN; LOCK TABLE smartlead_failed_events IN SHARE MODE');
set("smartlead.trigger_timeout = '500ms'", "smartlead.event_retention = '1d'");
ok(wait_until(sub { event_counts($node) eq '4/700' }, 'the old events to go'), 'E4: where one table is locked, the other is cleaned');
ok($node->poll_query_until('postgres', q{SELECT trouble LIKE '%smartlead_failed_events%locked%' FROM smartlead_workers WHERE worker = 'housekeeper'}),
	'E4: and it is told');
$holder->query('COMMIT');
$node->reload;
ok(wait_until(sub { event_counts($node) eq '4/0' }, 'the failed ones to go'), 'E4: then the locked one is, too');

# One whose trigger won't be stopped
on_delete(q{IF OLD.connection = 'stubborn' THEN LOOP BEGIN PERFORM pg_sleep(3600); EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP; END IF;});
old_events(3);
$node->safe_psql('postgres', q{INSERT INTO smartlead_events (received_at, connection, fingerprint, event_at, payload)
	VALUES (now() - interval '2 days', 'stubborn', gen_random_uuid(), now(), '{}')});
old_events(1000);
my $starts = housekeeper('starts');
$node->reload;
ok(wait_until(sub { event_counts($node) eq '5/0' }, 'the others to go'), 'E4: a trigger that goes on for ever keeps its own row alone');
ok(wait_until(sub { housekeeper('trouble') =~ /smartlead_events.*\(1\).*trigger_timeout/ }, 'word of it'), 'E4: which is told');
is(housekeeper('starts') - $starts, 2, 'E4: the housekeeper was ended for the step, and for the row');
on_delete('');
$node->reload;
ok(wait_until(sub { event_counts($node) eq '4/0' && housekeeper('trouble') eq '' }, 'the last one to go'), 'E4: until the trigger is mended');

# A table that somebody of little rights has put in the place is none to run code for as smartlead_admin
$node->safe_psql('postgres', q{CREATE ROLE mallory; GRANT CREATE ON SCHEMA public TO mallory;
	ALTER EXTENSION smartlead DROP TABLE smartlead_failed_events; ALTER TABLE smartlead_failed_events RENAME TO mine;
	SET ROLE mallory; CREATE TABLE smartlead_failed_events (id bigint, received_at timestamptz);
	CREATE FUNCTION fall() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE LOG 'trapped %', current_user; RETURN OLD; END $$;
	CREATE TRIGGER trap BEFORE DELETE ON smartlead_failed_events FOR EACH ROW EXECUTE FUNCTION fall();
	GRANT ALL ON smartlead_failed_events TO PUBLIC; INSERT INTO smartlead_failed_events VALUES (1, '2020-01-01');});
$node->reload;
ok(wait_until(sub { housekeeper('trouble') =~ /smartlead_failed_events.*: its owner lacks/ }, 'word of it'), 'E4: a table of a stranger is left alone, and told');
ok(!log_has($node, qr/LOG:  trapped/), 'E4: its triggers have not run');
$node->safe_psql('postgres', q{DROP TABLE smartlead_failed_events; ALTER TABLE mine RENAME TO smartlead_failed_events;
	ALTER EXTENSION smartlead ADD TABLE smartlead_failed_events});

# Partitions are dropped, not emptied
$node->safe_psql('postgres', q{ALTER EXTENSION smartlead DROP TABLE smartlead_failed_events; ALTER TABLE smartlead_failed_events RENAME TO mine;
	CREATE TABLE smartlead_failed_events (id bigint, received_at timestamptz) PARTITION BY RANGE (received_at);
	CREATE TABLE old PARTITION OF smartlead_failed_events FOR VALUES FROM (MINVALUE) TO (MAXVALUE);
	INSERT INTO smartlead_failed_events VALUES (1, '2020-01-01');});
$node->safe_psql('postgres', q{INSERT INTO smartlead_events (received_at, connection, fingerprint, event_at, payload)
	VALUES (now() - interval '2 days', 'hooks', gen_random_uuid(), now(), '{}')});
$node->reload;
ok(wait_until(sub { housekeeper('trouble') =~ /smartlead_failed_events.*partitioned.*pg_partman/ }, 'word of it'), 'E4: a partitioned table is left alone, which is told');
is(event_counts($node), '4/1', 'E4: though the other one is cleaned');
$node->safe_psql('postgres', q{DROP TABLE smartlead_failed_events; ALTER TABLE mine RENAME TO smartlead_failed_events;
	ALTER EXTENSION smartlead ADD TABLE smartlead_failed_events});
$node->reload;
ok(wait_until(sub { housekeeper('trouble') eq '' }, 'no trouble'), 'E4: until it is a plain one');

# What identifies events
$node->safe_psql('postgres', q{INSERT INTO smartlead_event_keys (fingerprint, event_id, received_at)
	SELECT gen_random_uuid(), n, now() - CASE WHEN n <= 5000 THEN interval '5 days' ELSE interval '3 days' END FROM generate_series(1, 5010) n});
my $keys = q{SELECT count(*) FROM smartlead_event_keys WHERE received_at < now() - interval '2 days'};
set("smartlead.event_key_retention = '4d'");
ok($node->poll_query_until('postgres', "SELECT ($keys) = 10"), 'keys of events go by their own age, and no others');
set("smartlead.event_key_retention = '1d'");
ok($node->poll_query_until('postgres', "SELECT ($keys) = 0"), 'until the day that they are kept at least');
isnt(($node->psql('postgres', "ALTER SYSTEM SET smartlead.event_key_retention = '23h'"))[0], 0, 'of which nothing is taken off');

# Crashes, and the end
$pid = housekeeper('pid');
kill 'KILL', $pid;
ok(wait_until(sub { (try_sql($node, q{SELECT pid FROM smartlead_workers WHERE worker = 'housekeeper' AND state = 'running'}) // '') !~ /^(?:$pid)?$/ }, 'another housekeeper'),
	'E4: a housekeeper that is killed comes back');
set("smartlead.trigger_timeout = '10min'");
on_delete('PERFORM pg_advisory_xact_lock(1);');
$holder = SmartleadSession->new($node);
$holder->query('SELECT pg_advisory_lock(1)');
old_events(1);
$node->reload;
ok(wait_until(\&is_held_up, 'the trigger to wait'), 'a trigger on DELETE once more');
$node->stop;
pass('E4: a server that is stopped does not wait for it');
done_testing();
