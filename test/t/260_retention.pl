# Events that are old enough go, a few at a time, and nothing that a trigger does keeps others from
# being served.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use SmartleadTest;
use WebhookTest;

my ($node, $port) = webhook_node('retention');
my $url = webhook_url($node);

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
is($node->safe_psql('postgres', q{SELECT trouble FROM smartlead_workers WHERE worker = 'receiver'}), '', 'S8: without trouble');
$node->safe_psql('postgres', 'ALTER ROLE "the boss" RENAME TO smartlead_admin');

$node->stop;
done_testing();
