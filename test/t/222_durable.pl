# What is answered 200 is there to stay: on disk, and on the standbys that the settings ask for, whatever
# is changed or cut short.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use SmartleadTest;
use WebhookTest;

my ($node, $port) = webhook_node('durable', init => [ allows_streaming => 1 ],
	settings => "synchronous_commit = on\nwal_writer_delay = 10s\nwal_writer_flush_after = 1GB\nautovacuum = off");
my $url = webhook_url($node);
my $number = 0;

sub event
{
	return { event_type => 'EMAIL_OPEN', stats_id => 's' . ++$number, lead_email => 'ada@clinic.example',
		event_timestamp => '2026-03-03T09:00:00Z' };
}

sub set
{
	$node->safe_psql('postgres', join '', 'SET synchronous_commit = local;', map { "ALTER SYSTEM $_;" } @_);
	$node->reload;
	return;
}

# The workers have read the configuration when they do what it says; there is no other sign of it.
sub workers_have
{
	my ($limit) = @_;
	return wait_until(sub { send_body($url, '"' . 'x' x 3000 . '"') == ($limit eq '2kB' ? 413 : 200) }, 'the new settings');
}

sub receiver_waits
{
	return $node->poll_query_until('postgres', q{
		SELECT count(*) > 0 FROM pg_stat_activity WHERE backend_type = 'smartlead receiver' AND wait_event = 'SyncRep'});
}

# On disk, also when commits needn't be
set('SET synchronous_commit = off', q{SET smartlead.max_body_size = '2kB'});
ok(workers_have('2kB'), 'a reload');
is(send_event($url, event()), 200, 'R3: an event after synchronous_commit was switched off by a reload');
$node->stop('immediate');
$node->start;
is($node->safe_psql('postgres', 'SELECT count(*) FROM smartlead_events'), 1, 'R3: is there after a crash');
ok(receiver_listens($port), 'the receiver is back');
is(send_event($url, event()), 200, 'R3: an event of a receiver that has started with it off');
$node->stop('immediate');
$node->start;
is($node->safe_psql('postgres', 'SELECT count(*) FROM smartlead_events'), 2, 'R3: likewise');
ok(receiver_listens($port), 'the receiver is back');

# A standby that isn't there: nothing can be answered
set('SET synchronous_commit = remote_apply', q{SET synchronous_standby_names = 'nobody'}, 'RESET smartlead.max_body_size');
$node->poll_query_until('postgres', q{SELECT setting = 'nobody' FROM pg_settings WHERE name = 'synchronous_standby_names'});
my $event = event();
my $answer;
# Until the receiver and the checkpointer have read the settings, an event may get by.
wait_until(sub {
	$answer = send_beside($url, $event);
	return 1 if wait_until(sub { $node->safe_psql('postgres', q{
		SELECT count(*) > 0 FROM pg_stat_activity WHERE backend_type = 'smartlead receiver' AND wait_event = 'SyncRep'}) eq 't' }, 'SyncRep', 5);
	status_of($answer);
	$event = event();
	return 0;
}, 'a receiver that waits');
ok(receiver_waits(), 'R3: standbys are waited for after a reload');
my $pid = receiver_pid($node);
$node->safe_psql('postgres', "SELECT pg_cancel_backend($pid)");
is(status_of($answer), 503, 'R4: a wait that is cancelled is answered 503');
is(receiver_pid($node), $pid, 'R4: the receiver goes on');
$answer = send_beside($url, $event);
ok(receiver_waits(), 'R4: a repetition waits as well');
$node->safe_psql('postgres', "SELECT pg_cancel_backend($pid)");
is(status_of($answer), 503, 'R4: and is answered 503 when that is cancelled');
$answer = send_beside($url, $event);
ok(receiver_waits(), 'R4: another time');
$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
isnt(status_of($answer), 200, 'R4: a wait that is ended with the receiver is not answered 200');
ok(wait_until(sub { my $now = receiver_pid($node); $now ne '' && $now ne $pid }, 'another receiver'), 'R4: another one starts');
$answer = send_beside($url, event());
ok(receiver_waits(), 'R4: a new event waits');
$node->stop('fast');
isnt(status_of($answer), 200, 'R4: a fast shutdown answers no 200');
$node->start;
$answer = send_beside($url, $event) if receiver_pid_soon();
ok(receiver_waits(), 'R4: after a restart, repetitions still wait');
set('RESET synchronous_standby_names');
status_of($answer);
ok(wait_until(sub { send_event($url, $event) == 200 }, '200'), 'R4: they are answered 200 when there is nothing to wait for');
is($node->safe_psql('postgres', 'SELECT count(*) - count(DISTINCT stats_id) FROM smartlead_events'), 0, 'R4: nothing is there twice');

sub receiver_pid_soon
{
	return wait_until(sub { receiver_pid($node) ne '' }, 'a receiver');
}

$node->stop;
done_testing();
