# kill -9 of the dispatcher or of the postmaster, at random moments, while jobs are performed: in the
# end every job that may be repeated is done, none that may not was performed twice, and each row
# tells the truth about what the sandbox saw.
use strict;
use warnings;

use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

use SmartleadTest;

my $kills = $ENV{SMARTLEAD_TEST_KILLS} || 50;
my $jobs = 2000;
my $campaigns = 600; # of them may not be repeated

my $seed = $ENV{SMARTLEAD_TEST_SEED} || $$;
srand $seed;
diag "seed $seed";

my $node = smartlead_node('main', conf => qq{
	smartlead.databases = 'postgres'
	smartlead.port = @{[free_port()]}
	smartlead.queue_concurrency = 4
	restart_after_crash = on
	log_min_messages = log
	log_statement = none
});
sandbox_post('/_sandbox/config', { latency_ms => 60 });

sub query
{
	my ($sql) = @_;
	return try_sql($node, $sql);
}

# Every lead of the big campaign is paused once; each new campaign has a name of its own.
query(qq{
	SELECT smartlead_enqueue('pause_lead', jsonb_build_object('campaign_id', 600001, 'lead_id', 3600000000 + i))
	FROM generate_series(1, $jobs - $campaigns) i;
	SELECT smartlead_enqueue('create_campaign', jsonb_build_object('name', 'crash ' || i))
	FROM generate_series(1, $campaigns) i;
	UPDATE smartlead_queue SET due_at = due_at + random() * interval '1 millisecond'});

sub server_is_up
{
	return defined query('SELECT 1');
}

sub dispatcher
{
	return query(q{SELECT pid FROM smartlead_workers WHERE worker = 'dispatcher' AND state = 'running'});
}

# Its children notice that it is gone, and end, before another one may start.
sub kill_postmaster
{
	my $pid = $node->{_pid};
	$node->kill9;
	wait_until(sub { !kill 0, $pid }, 'the postmaster is gone');
	return wait_until(sub { $node->start(fail_ok => 1) }, 'the server starts again');
}

my ($dispatchers, $postmasters) = (0, 0);
foreach my $kill (1 .. $kills)
{
	wait_until(sub { dispatcher() }, 'a dispatcher runs') or last;
	sleep 0.02 + rand(0.35);
	if (rand() < 0.4)
	{
		kill_postmaster();
		$postmasters++;
	}
	else
	{
		my $pid = dispatcher() or next;
		kill 'KILL', $pid;
		$dispatchers++;
		wait_until(\&server_is_up, 'the server has recovered') or last;
	}
}
diag "killed the dispatcher $dispatchers times, the postmaster $postmasters times";
is($dispatchers + $postmasters, $kills, "$kills kills");

ok( wait_until(
		sub { (query(q{SELECT NOT EXISTS (SELECT FROM smartlead_queue WHERE state IN ('ready', 'running'))}) // '') eq 't' },
		'all jobs end', 300),
	'all jobs end');

my %paused;
my %created;
foreach my $request (@{ sandbox_get('/_sandbox/log') })
{
	$paused{$1}++ if $request->{path} =~ m{^/campaigns/600001/leads/(\d+)/pause$};
	$created{ decode_json($request->{body})->{name} }++ if $request->{path} eq '/campaigns/create';
}

my ($done, $unknown, $lies, $twice, $repeated) = (0, 0, 0, 0, 0);
foreach my $row (split /\n/, query(
		q{SELECT action, state, coalesce(sqlstate, ''), coalesce(args->>'lead_id', args->>'name') FROM smartlead_queue}))
{
	my ($action, $state, $sqlstate, $what) = split /\|/, $row;

	if ($action eq 'pause_lead')
	{
		$done++ if $state eq 'done';
		$lies++ if ($state eq 'done') != (($paused{$what} // 0) > 0);
		$repeated++ if ($paused{$what} // 0) > 1;
		next;
	}
	my $times = $created{$what} // 0;
	$twice++ if $times > 1;
	$unknown++ if $sqlstate eq 'SL520';
	# "done" means once; "outcome unknown" may mean either; nothing else has happened to them.
	$lies++ unless $state eq 'done' && $times == 1 || $state eq 'failed' && $sqlstate eq 'SL520';
}
diag "$repeated of the pauses were sent again, $unknown campaigns have an unknown outcome";
is($done, $jobs - $campaigns, 'every job that may be repeated is done');
is($twice, 0, 'no campaign was created twice');
is($lies, 0, 'each row tells the truth');
cmp_ok($unknown, '<=', 4 * $kills, 'no more outcomes are unknown than requests were under way');
is(scalar(keys %created) >= $campaigns - $unknown ? 1 : 0, 1, 'every other campaign was created');

$node->stop;
done_testing();
