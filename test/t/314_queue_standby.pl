# A synchronous standby that is away: what it has not got is not sent, and neither a cancel nor the end
# of the server waits for it.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use SmartleadTest;

my $node = smartlead_node('main',
	conf => "smartlead.databases = 'postgres'\nsmartlead.port = @{[free_port()]}\nwal_level = replica\nmax_wal_senders = 2");

sub query
{
	return $node->safe_psql('postgres', $_[0]);
}

sub dispatcher
{
	return query(q{SELECT pid FROM smartlead_workers WHERE worker = 'dispatcher' AND state = 'running'});
}

sub standby
{
	my ($name) = @_;
	query("ALTER SYSTEM SET synchronous_standby_names = '$name'");
	query('SELECT pg_reload_conf()');
	return $node->poll_query_until('postgres', "SELECT setting = '$name' FROM pg_settings WHERE name = 'synchronous_standby_names'");
}

# Enqueues a job, and waits until its claim waits for the standby.
sub claimed
{
	my ($lead) = @_;
	query(qq{SET synchronous_commit = local; SELECT smartlead_enqueue('pause_lead', '{"campaign_id": 600001, "lead_id": $lead}')});
	return waits_for_standby();
}

sub waits_for_standby
{
	return $node->poll_query_until('postgres', q{SELECT wait_event = 'SyncRep' FROM pg_stat_activity WHERE backend_type = 'smartlead dispatcher'});
}

sub sent
{
	return scalar @{ sandbox_get('/_sandbox/log') };
}

ok(wait_until(\&dispatcher, 'a dispatcher runs'), 'a dispatcher runs');
my $pid = dispatcher();
query("SELECT pg_cancel_backend($pid)") foreach 1 .. 3;
my $job = query(q{SELECT smartlead_enqueue('pause_lead', '{"campaign_id": 600001, "lead_id": 3600000001}')});
is(query("SELECT state FROM smartlead_wait($job)"), 'done', 'a job is performed');
is(dispatcher(), $pid, 'R12: a cancel does not end the dispatcher, which has nothing to cancel');

standby('nobody');
my $before = sent();
ok(claimed(3600000002), 'a claim waits for a standby');
query("SELECT pg_cancel_backend($pid)");
ok(wait_until(sub { log_has($node, qr/canceling wait for synchronous replication/) }, 'the wait is cancelled'), 'the wait is cancelled');
ok(waits_for_standby(), 'the next one waits again');
is(sent(), $before, 'Q12: what no standby has got is not sent');
standby('');
ok($node->poll_query_until('postgres', q{SELECT bool_and(state = 'done') FROM smartlead_queue}), 'Q12: it is when the standby is waited for no longer');
is(sent(), $before + 1, 'Q12: once');
is(dispatcher(), $pid, 'R12: by the same dispatcher');

standby('nobody');
ok(claimed(3600000003), 'another claim waits');
ok($node->stop('fast', fail_ok => 1), 'Q12: a fast shutdown does not wait for the standby');
is(sent(), $before + 1, 'Q12: and nothing is sent that it has not got');

$node->stop('immediate', fail_ok => 1);
done_testing();
