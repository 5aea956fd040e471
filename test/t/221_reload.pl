# Reloads of the configuration while clients of every kind are connected: the receiver's certificate,
# address and limits change, and nothing breaks or is lost.
use strict;
use warnings;

use IO::Socket::INET;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

use SmartleadTest;
use WebhookTest;

my $reloads = 50;
my ($node, $port) = webhook_node('reload');
my $url = webhook_url($node);
my ($path) = $url =~ m{^http://[^/]+(/.*)$};
my $started = $node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()');
my $test = $$;

sub is_unbroken
{
	my ($what) = @_;
	my ($code, $since) = $node->psql('postgres', 'SELECT pg_postmaster_start_time()');
	return is($code == 0 ? $since : 'down', $started, $what);
}

sub set
{
	$node->safe_psql('postgres', join '', map { "ALTER SYSTEM $_;" } @_);
	$node->reload;
	return;
}

sub trouble
{
	return $node->safe_psql('postgres', q{SELECT trouble FROM smartlead_workers WHERE worker = 'receiver'});
}

sub make_pair
{
	my ($name) = @_;
	my $file = $node->data_dir . "/$name";
	return system("openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=$name -keyout $file.key -out $file.crt >/dev/null 2>&1") == 0;
}

# What comes next on a connection; '' when it has ended.
sub answer_of
{
	my ($socket) = @_;
	my $vector = '';
	vec($vector, fileno $socket, 1) = 1;
	my $answer = '';
	sysread $socket, $answer, 4096 if select($vector, undef, undef, $PostgreSQL::Test::Utils::timeout_default || 180);
	return $answer;
}

# What a request over TLS is answered, and whose certificate was shown.
sub over_tls
{
	my ($request) = @_;
	my ($in, $out, $err) = ($request, '', '');
	IPC::Run::run([ 'openssl', 's_client', '-quiet', '-connect', "127.0.0.1:$port" ], \$in, \$out, \$err);
	return "$err$out";
}

my $ask = "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
my $has_tls = make_pair('one') && make_pair('two');

# A certificate without its key
SKIP:
{
	skip 'no openssl', 9 unless $has_tls;
	set(q{SET smartlead.tls_certificate_file = 'one.crt'}, q{SET smartlead.tls_key_file = 'one.key'});
	ok(wait_until(sub { over_tls($ask) =~ /CN ?= ?one.*200 OK/s }, 'TLS with the first certificate'), 'R1: a certificate and its key');
	my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port);
	set(q{SET smartlead.tls_certificate_file = 'two.crt'});
	ok(wait_until(sub { trouble() =~ /pair/ }, 'trouble'), 'R1: a certificate with the key of another: trouble is told');
	like(over_tls($ask), qr/CN ?= ?one.*200 OK/s, 'R1: the old certificate stays in force');
	set('SET smartlead.max_header_size = 16');
	ok(wait_until(sub { over_tls($ask) =~ /CN ?= ?one.*200 OK/s }, 'the old certificate'), 'R1: also when something else changes');
	is_unbroken('R1: the server goes on');
	my $vector = '';
	vec($vector, fileno $socket, 1) = 1;
	is(select($vector, undef, undef, 0), 0, 'R1: connections are not closed for a change that cannot be made');
	set(q{SET smartlead.tls_key_file = 'two.key'});
	ok(wait_until(sub { over_tls($ask) =~ /CN ?= ?two.*200 OK/s }, 'TLS with the second certificate'), 'R1: with its key, the new one is in force');
	is(trouble(), '', 'R1: and there is no trouble');
	set(q{SET smartlead.tls_key_file = 'one.key'}, q{SET smartlead.listen_address = '*'});
	ok(wait_until(sub { trouble() =~ /pair/ }, 'trouble'), 'R1: a bad pair and another address at once');
	like(over_tls($ask), qr/CN ?= ?two.*200 OK/s, 'R1: the old ones stay');
	set('RESET smartlead.tls_certificate_file', 'RESET smartlead.tls_key_file', 'RESET smartlead.listen_address', 'RESET smartlead.max_header_size');
	ok(receiver_listens($port), 'R1: plain HTTP again');
	is_unbroken('R1: the server has gone on');
}

# What clients had begun when the settings changed is answered, however long after
{
	my $body = event_named('begun');
	my $request = post($path, $body);
	my $keep = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
	my $elsewhere = free_port();
	my %client = map { $_ => IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port) // die "connect: $!" }
	  qw(silent head half served);
	syswrite $client{head}, substr $request, 0, 20;
	syswrite $client{half}, substr $request, 0, -10;
	syswrite $client{served}, $keep;
	like(answer_of($client{served}), qr/^HTTP\/1.1 200 (?!.*Connection: close)/s, 'review: a connection is kept');
	for my $change ("smartlead.max_connections = 1999", "smartlead.max_header_size = 16", "smartlead.port = $elsewhere")
	{
		my $before = () = slurp_file($node->logfile) =~ /smartlead receives webhooks on/g;
		set("SET $change");
		ok(wait_until(sub { (() = slurp_file($node->logfile) =~ /smartlead receives webhooks on/g) > $before }, $change),
			"review: $change is in force");
	}
	ok(receiver_listens($elsewhere), 'review: new clients are served');
	syswrite $client{silent}, $request;
	syswrite $client{head}, substr $request, 20;
	syswrite $client{half}, substr $request, -10;
	syswrite $client{served}, $keep;
	for my $name (sort keys %client)
	{
		like(answer_of($client{$name}), qr/^HTTP\/1.1 200 .*Connection: close/s, "review: a client that was $name is answered, for the last time");
		is(answer_of($client{$name}), '', 'review: and its connection ends');
	}
	is($node->safe_psql('postgres', q{SELECT count(*) FROM smartlead_events WHERE stats_id = 'begun'}), 1, 'review: their event is stored');
	set('RESET smartlead.max_connections', 'RESET smartlead.max_header_size', "SET smartlead.port = $port");
	ok(receiver_listens($port), 'review: back again');
	$node->safe_psql('postgres', 'DELETE FROM smartlead_events; DELETE FROM smartlead_event_keys');
}

# Reloads under load. Each client is a process that does the same again and again until the test ends.
my $directory = PostgreSQL::Test::Utils::tempdir();
my $stop = "$directory/stop";
my @clients;

sub goes_on
{
	return !-e $stop && getppid() == $test;
}

sub start_client
{
	my ($code) = @_;
	my $pid = fork // die "fork: $!";
	if ($pid == 0)
	{
		$SIG{PIPE} = 'IGNORE';
		eval { $code->() while goes_on(); };
		POSIX::_exit(0);
	}
	push @clients, $pid;
	return;
}

# Sends parts with pauses, then reads what comes.
sub send_parts
{
	my ($pause, @parts) = @_;
	my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port) or return sleep 0.05;
	for my $part (@parts)
	{
		syswrite $socket, $part or return sleep 0.05;
		sleep $pause if goes_on();
	}
	my $vector = '';
	vec($vector, fileno $socket, 1) = 1;
	my $answer = '';
	sysread $socket, $answer, 4096 if select($vector, undef, undef, 10);
	return $answer;
}

sub event_named
{
	my ($name) = @_;
	return qq({"event_type":"EMAIL_SENT","stats_id":"$name","campaign_id":7,"lead_email":"a\@b.example","event_timestamp":"2026-03-03T09:27:27.234+00:00"});
}

sub post
{
	my ($where, $body) = @_;
	return "POST $where HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: " . length($body) . "\r\n\r\n$body";
}

# Sends events, each until it is answered 200, and writes down the names.
sub start_sender
{
	my ($me, $pause, $split, $send) = @_;
	my $n = 0;
	my $file = "$directory/answered.$me";
	start_client(sub {
		my $name = "$me-" . ++$n;
		my $request = post($path, event_named($name));
		my @parts = $split ? unpack("(a$split)*", $request) : $request;
		while (goes_on())
		{
			next unless $send->($pause, @parts) =~ m{HTTP/1.1 200}; # over TLS, behind what openssl says
			append_to_file($file, "$name\n");
			last;
		}
	});
	return;
}

start_sender("plain$_", 0, 0, \&send_parts) for 1 .. 3;
start_sender("slow$_", 0.15, 60, \&send_parts) for 1 .. 4;
start_sender('tls', 0, 0, sub { shift; over_tls(join '', @_) }) if $has_tls;
# Without a token: a health check whose body comes late, one for another path, and one that never ends.
for my $pause (0.3, 0.4, 0.5, 0.6, 0.3, 0.4)
{
	start_client(sub { send_parts($pause, "GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n", 'ab', 'cd'); });
}
start_client(sub { send_parts(0.3, "POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n", 'ab', 'cd'); });
start_client(sub { send_parts(0.5, 'POST /not'); });
start_client(sub { send_parts(0.4, substr(post($path, event_named('half')), 0, -20)); });
start_client(sub { send_parts(0, "\x16\x03\x01 no request\r\n\r\n"); });

# Batches of few requests that take long, so that bodies come in while what has arrived is answered.
$node->safe_psql('postgres', q{
	CREATE SCHEMA work; GRANT ALL ON SCHEMA work TO app;
	SET ROLE app;
	CREATE FUNCTION work.doze() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.2); RETURN NULL; END';
	CREATE TRIGGER doze AFTER INSERT ON smartlead_events FOR EACH STATEMENT EXECUTE FUNCTION work.doze();});
set('SET smartlead.max_batch = 2');

my @changes = (
	[ 'SET smartlead.max_header_size = 16' ],
	[ q{SET smartlead.listen_address = '*'} ],
	[ 'SET smartlead.idle_timeout = 40', 'SET smartlead.max_body_size = 100' ],
	[ q{SET smartlead.listen_address = '0.0.0.0'} ],
	[ 'SET smartlead.max_connections = 100' ],
	[ q{SET smartlead.listen_address = '203.0.113.1'} ], # not ours
	[ q{RESET smartlead.listen_address} ],
	$has_tls ? (
		[ q{SET smartlead.tls_certificate_file = 'one.crt'}, q{SET smartlead.tls_key_file = 'one.key'} ],
		[ q{SET smartlead.tls_certificate_file = 'two.crt'} ], # no pair
		[ q{SET smartlead.tls_key_file = 'two.key'} ],
		[ 'RESET smartlead.tls_certificate_file', 'RESET smartlead.tls_key_file' ]) : (),
	[ 'RESET smartlead.max_header_size', 'RESET smartlead.idle_timeout', 'RESET smartlead.max_connections' ]);
my $pid = receiver_pid($node);
my $unbroken = 0;
for my $n (1 .. $reloads)
{
	last if $node->psql('postgres', join '', map { "ALTER SYSTEM $_;" } @{ $changes[ $n % @changes ] }) != 0;
	$node->reload;
	sleep 0.1 + rand 0.5;
	$unbroken++;
}
is($unbroken, $reloads, "R2: $reloads reloads under slow, half and well-formed requests, with and without a token");
is_unbroken('R2: the server has gone on');
set('RESET ALL');
ok(receiver_listens($port), 'R2: the receiver is there');
is(receiver_pid($node), $pid, 'R2: the same one all the time');
append_to_file($stop, '');
waitpid $_, 0 for @clients;
my @answered = map { split /\n/, slurp_file($_) } glob "$directory/answered.*";
cmp_ok(scalar @answered, '>', 0, 'R2: ' . @answered . ' events were answered meanwhile');
append_to_file("$directory/list", join '', map { "$_\n" } @answered);
$node->safe_psql('postgres', "CREATE TABLE answered (stats_id text); COPY answered FROM '$directory/list'");
is($node->safe_psql('postgres', 'SELECT count(*) FROM answered a WHERE NOT EXISTS (SELECT FROM smartlead_events e WHERE e.stats_id = a.stats_id)'),
	0, 'R2: none of them is missing');
is($node->safe_psql('postgres', 'SELECT count(*) FROM smartlead_failed_events'), 0, 'R2: none failed');

END
{
	my $status = $?;
	if ($$ == $test)
	{
		kill 'KILL', @clients;
		waitpid $_, 0 for @clients;
	}
	$? = $status;
}

$node->stop;
done_testing();
