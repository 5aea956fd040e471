# Crashes under load: every event that was answered 2xx is in the table exactly once, after its
# sender has tried again what was not answered.
#
# SMARTLEAD_CRASHES says how often each kind of crash happens (20).
use strict;
use warnings;

use IO::Socket::INET;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

use SmartleadTest;
use WebhookTest;

my $rounds = $ENV{SMARTLEAD_CRASHES} || 20;
my $senders = 8;

# As on a server that means it: with fsync, and coming up again by itself.
my ($node, $port) = webhook_node('crash',
	settings => "fsync = on\nrestart_after_crash = on\nsmartlead.receivers = 2\n"
	  . "wal_level = replica\ncheckpoint_timeout = 30s\nsmartlead.trigger_timeout = '1s'");
my $url = webhook_url($node);
my ($path) = $url =~ m{^http://[^/]+(/.*)$};

# A user's trigger takes part: what it writes must match as well.
$node->safe_psql('postgres', q{
	CREATE TABLE public.copies (stats_id text);
	ALTER TABLE public.copies OWNER TO app;
	GRANT CREATE ON SCHEMA public TO app;
	SET ROLE app;
	CREATE FUNCTION public.copy() RETURNS trigger LANGUAGE plpgsql AS
		'BEGIN INSERT INTO public.copies VALUES (NEW.stats_id); RETURN NULL; END';
	CREATE TRIGGER copy AFTER INSERT ON smartlead_events FOR EACH ROW EXECUTE FUNCTION public.copy();});

# One sender: an event after the other, each until it is answered 2xx. Writes the names of the
# answered ones into a file. Ends when the file "stop" is there.
sub run_sender
{
	my ($me, $stop, $file) = @_;
	open my $log, '>', $file or die $!;
	$log->autoflush;
	my ($socket, $n) = (undef, 0);
	local $SIG{PIPE} = 'IGNORE';
	until (-e $stop)
	{
		my $name = "$me-" . ++$n;
		my $body = qq({"event_type":"EMAIL_SENT","stats_id":"$name","campaign_id":7,"lead_email":"a\@b.example","event_timestamp":"2026-03-03T09:27:27.234+00:00"});
		my $request = "POST $path HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nX-Request-Id: $name\r\nContent-Length: " . length($body) . "\r\n\r\n$body";
		# Every third sender has no ids, so that only what is in the event can tell.
		$request =~ s/X-Request-Id: [^\r]*\r\n// if $me % 3 == 0;
		for (;;)
		{
			$socket ||= IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port);
			my $answer = '';
			if ($socket)
			{
				syswrite $socket, $request;
				my $vector = '';
				vec($vector, fileno $socket, 1) = 1;
				while ($answer !~ /\r\n\r\n.*\n$/s && select(my $ready = $vector, undef, undef, 20))
				{
					last unless sysread $socket, $answer, 4096, length $answer;
				}
			}
			last if $answer =~ m{^HTTP/1.1 2};
			undef $socket;
			last if -e $stop; # not answered: nobody may count on it
			sleep 0.02;
			next;
		}
		last if -e $stop && !$socket;
		print {$log} "$name\n";
	}
	close $log;
	return;
}

sub start_senders
{
	my ($stop, $prefix) = @_;
	my @pids;
	for my $me (1 .. $senders)
	{
		my $pid = fork // die "fork: $!";
		if ($pid == 0)
		{
			eval { run_sender($me, $stop, "$prefix.$me"); };
			POSIX::_exit(0);
		}
		push @pids, $pid;
	}
	return @pids;
}

sub stop_senders
{
	my ($stop, @pids) = @_;
	open my $file, '>', $stop or die $!;
	close $file;
	waitpid $_, 0 for @pids;
	return;
}

sub stored
{
	return try_sql($node, 'SELECT count(*) FROM smartlead_events');
}

sub is_up
{
	return defined try_sql($node, 'SELECT 1');
}

my %crash = (
	'kill -9 of a receiver' => sub { kill 'KILL', receiver_pid($node); },
	'kill -9 of the postmaster' => sub {
		my ($pid) = slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/;
		kill 'KILL', $pid;
		# Its children notice and end; the next start must not find them.
		wait_until(sub { !kill(0, $pid) && !IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port) }, 'the end of all');
		$node->{_pid} = undef;
		wait_until(sub { PostgreSQL::Test::Utils::system_log('pg_ctl', '-w', '-D', $node->data_dir, '-l', $node->logfile, '-o', '--cluster-name=crash', 'start') == 0 }, 'start');
		$node->_update_pid(1);
	},
	'pg_ctl stop -m immediate' => sub { $node->stop('immediate'); $node->start; },
);

for my $kind (sort keys %crash)
{
	my $directory = PostgreSQL::Test::Utils::tempdir();
	my $stop = "$directory/stop";
	$node->safe_psql('postgres', 'TRUNCATE smartlead_events, smartlead_event_keys, smartlead_failed_events, public.copies');
	my @pids = start_senders($stop, "$directory/answered");
	my $survived = 0;
	for my $round (1 .. $rounds)
	{
		my $before;
		wait_until(sub { defined($before = stored()) }, 'an answer');
		wait_until(sub { (stored() // 0) > $before + 20 }, 'load');
		sleep rand 0.1;
		$crash{$kind}->();
		$survived++ if wait_until(\&is_up, "recovery $round");
		receiver_listens($port);
	}
	stop_senders($stop, @pids);
	is($survived, $rounds, "$kind: $rounds times, the server came back each time");
	my @answered = map { split /\n/, slurp_file($_) } glob "$directory/answered.*";
	$node->safe_psql('postgres', 'CREATE TABLE answered (stats_id text)');
	my $list = "$directory/list";
	append_to_file($list, join '', map { "$_\n" } @answered);
	$node->safe_psql('postgres', "COPY answered FROM '$list'");
	cmp_ok(scalar @answered, '>', $rounds * 20, "$kind: " . scalar(@answered) . ' events were answered');
	is($node->safe_psql('postgres', 'SELECT count(*) FROM answered a WHERE NOT EXISTS (SELECT FROM smartlead_events e WHERE e.stats_id = a.stats_id)'),
		0, "$kind: none of them is missing");
	is($node->safe_psql('postgres', 'SELECT count(*) - count(DISTINCT stats_id) FROM smartlead_events'),
		0, "$kind: none is there twice");
	is($node->safe_psql('postgres', 'SELECT count(*) FROM (SELECT stats_id FROM smartlead_events EXCEPT ALL SELECT stats_id FROM public.copies) AS d'),
		0, "$kind: the trigger has run for each");
	is($node->safe_psql('postgres', 'SELECT count(*) FROM (SELECT stats_id FROM public.copies EXCEPT ALL SELECT stats_id FROM smartlead_events) AS d'),
		0, "$kind: once");
	is($node->safe_psql('postgres', 'SELECT count(*) FROM smartlead_failed_events'), 0, "$kind: none failed");
	$node->safe_psql('postgres', 'DROP TABLE answered');
}

$node->stop;
done_testing();
