# Clients that mean harm, or don't know better: the receiver stays up, serves the honest ones, takes no
# more memory than its limits say, and stores nothing that is not JSON.
#
# SMARTLEAD_MALFORMED says how many malformed requests to send (100000).
use strict;
use warnings;

use IO::Socket::INET;
use Socket qw(SOL_SOCKET SO_LINGER);
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

use SmartleadTest;
use WebhookTest;

my $malformed = $ENV{SMARTLEAD_MALFORMED} || 100_000;
my $slow = 1000;

my ($node, $port) = webhook_node('attacks',
	settings => "smartlead.max_connections = 800\nsmartlead.idle_timeout = 5\nsmartlead.request_timeout = 8\n"
	  . "smartlead.trigger_timeout = '1s'\n"
	  . "smartlead.max_body_size = '256kB'\nsmartlead.max_queue_size = '16MB'");
my $url = webhook_url($node);
my ($path) = $url =~ m{^http://[^/]+(/.*)$};
my $pid = receiver_pid($node);
my $number = 0;

sub event
{
	$number++;
	return { event_type => 'EMAIL_OPEN', stats_id => "s$number", lead_email => 'ada@clinic.example',
		event_timestamp => '2026-03-03T09:00:00Z' };
}

sub memory_kb
{
	return slurp_file("/proc/$pid/status") =~ /^RssAnon:\s+(\d+)/m ? $1 : 0;
}

# Honest clients are served, each within the seconds given.
sub honest_are_served
{
	my ($what) = @_;
	my ($good, $worst) = (0, 0);
	for (1 .. 20)
	{
		my $start = time;
		$good++ if send_event($url, event()) == 200;
		$worst = time - $start if time - $start > $worst;
	}
	is($good, 20, "$what: honest clients are served");
	note sprintf '%s: the slowest honest answer took %.3f s', $what, $worst;
	return;
}

my $limit = POSIX::sysconf(POSIX::_SC_OPEN_MAX());
honest_are_served('at peace');
my $memory = memory_kb();
note "memory at the start: $memory kB";

# Slow headers and slow bodies
SKIP:
{
	skip "not enough file descriptors ($limit)", 8 if $limit < $slow + 100;
	for my $kind ('headers', 'body')
	{
		my @sockets;
		for my $i (1 .. $slow)
		{
			my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port) or next;
			$socket->autoflush;
			syswrite $socket, "POST $path HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";
			syswrite $socket, "Content-Length: 200000\r\n\r\n{" if $kind eq 'body';
			push @sockets, $socket;
		}
		cmp_ok(scalar @sockets, '>', $slow * 0.9, "slow $kind: $slow connections");
		local $SIG{PIPE} = 'IGNORE';
		my $end = time + 6;
		my $first = 1;
		while (time < $end)
		{
			syswrite $_, ($kind eq 'headers' ? 'X' : '1') for @sockets;
			honest_are_served("slow $kind") if $first;
			$first = 0;
			sleep 0.5;
		}
		ok( $node->poll_query_until('postgres', 'SELECT connections <= 20 FROM smartlead_stat_receiver'),
			"slow $kind: they are closed when their time is over");
	}
	cmp_ok(memory_kb(), '<', $memory + 40_000, 'memory after slow clients');
	note 'memory after slow clients: ' . memory_kb() . ' kB';
}

# Requests whose end is told twice, or not clearly: a second request hidden in the first one must not
# be taken for one.
my $hidden = "POST $path HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 19\r\n\r\n{\"event_type\":\"H\"} ";
my $head = "POST $path HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";
for my $headers (
	"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
	"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
	"Content-Length: 5\r\nContent-Length: 6\r\n",
	"Content-Length: 5\r\nContent-Length: 5\r\n",
	"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
	"Transfer-Encoding: gzip, chunked\r\n",
	"Transfer-Encoding: xchunked\r\n",
	"Content-Length: +5\r\n", "Content-Length: 0x5\r\n", "Content-Length: 5,5\r\n", "Content-Length: -1\r\n",
	"Content-Length: 99999999999999999999\r\n", "Content-Length: \r\n")
{
	my $answer = raw_http($port, "$head$headers\r\n0\r\n\r\n$hidden", 1);
	(my $shown = $headers) =~ s/\r\n/; /g;
	unlike($answer, qr{HTTP/1.1 2}, "refused: $shown");
}
is($node->safe_psql('postgres', q{SELECT count(*) FROM smartlead_events WHERE event_type = 'H'}), 0, 'no hidden request was taken');

# Chunked bodies and pipelining, done rightly
like(raw_http($port, "${head}Transfer-Encoding: chunked\r\n\r\n5\r\n{\"eve\r\nd\r\nnt_type\":\"C\"}\r\n0\r\n\r\n", 1), qr{HTTP/1.1 200}, 'a chunked body');
my $pipelined = join '', map {
	my $body = qq({"event_type":"P","n":$_});
	"${head}Content-Length: " . length($body) . "\r\n\r\n$body" } 1 .. 50;
my $answers = () = raw_http($port, $pipelined, 2) =~ m{HTTP/1.1 200}g;
is($answers, 50, 'fifty pipelined requests are answered');
is($node->safe_psql('postgres', q{SELECT string_agg(payload->>'n', ' ' ORDER BY id) FROM smartlead_events WHERE event_type = 'P'}),
	join(' ', 1 .. 50), 'and stored in their order');
my $bytewise = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port);
for my $byte (split //, "${head}Content-Length: 18\r\n\r\n{\"event_type\":\"B\"}")
{
	syswrite $bytewise, $byte;
}
sysread $bytewise, my $answer, 1000;
like($answer, qr{HTTP/1.1 200}, 'byte by byte');

# Too long
like(raw_http($port, "${head}Content-Length: 999999999\r\n\r\n{", 1), qr{HTTP/1.1 413}, 'a body that is announced too long');
like(raw_http($port, "${head}Transfer-Encoding: chunked\r\n\r\n" . ("10000\r\n" . 'x' x 65536 . "\r\n") x 8 . "0\r\n\r\n", 2),
	qr{HTTP/1.1 413}, 'one that turns out too long');
unlike(raw_http($port, "${head}Transfer-Encoding: chunked\r\n\r\n" . ("10000\r\n" . 'x' x 65536 . "\r\n") x 40, 2),
	qr{HTTP/1.1 2}, 'one without end is cut off');
unlike(raw_http($port, "POST $path HTTP/1.1\r\nHost: x\r\nX: " . 'y' x 100_000 . "\r\n\r\n", 1), qr{HTTP/1.1 2}, 'headers that are too long');
unlike(raw_http($port, 'GET /' . 'y' x 100_000 . " HTTP/1.1\r\n\r\n", 1), qr{HTTP/1.1 2}, 'a line that is too long');

# More bodies at once than there is memory for: some are told to come again, none is lost
{
	my @pipes;
	for my $i (1 .. 100)
	{
		open my $pipe, '-|' or do
		{
			my $body = qq({"event_type":"M","n":$i,"x":") . 'x' x 240_000 . '"}';
			my $status = 0;
			for (1 .. 200)
			{
				$status = send_body($url, $body);
				last if $status == 200;
				sleep 0.1;
			}
			print $status;
			close STDOUT;
			POSIX::_exit(0);
		};
		push @pipes, $pipe;
	}
	is(scalar(grep { (scalar <$_>) eq '200' } @pipes), 100, 'bodies beyond the memory for them are stored in the end');
	close $_ for @pipes;
	is($node->safe_psql('postgres', q{SELECT count(*) || ' ' || count(DISTINCT payload->>'n') FROM smartlead_events WHERE event_type = 'M'}),
		'100 100', 'each once');
}

# Rubbish
my $stored = $node->safe_psql('postgres', 'SELECT count(*) FROM smartlead_events');
my @rubbish = (
	"\0\0\0\0\r\n\r\n", "GET\r\n\r\n", "POST $path\r\n\r\n", "POST $path HTTP/9.9\r\n\r\n", "\r\n\r\n\r\n",
	"${head}Content-Length: 3\r\n\r\n{{{", "${head}Content-Length: 4\r\n\r\n\xff\xfe{}",
	"${head}Content-Length: 2000\r\n\r\n" . '[' x 2000, "${head}Content-Length: 0\r\n\r\n",
	"${head}Content-Length: 8\r\n\r\n\"\\u00zz\"", "${head}: no name\r\n\r\n", "${head}Transfer-Encoding: chunked\r\n\r\nzz\r\n",
	"${head}Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nx", "PUT $path HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}",
	"POST /%00%2e%2e/ HTTP/1.1\r\nHost: x\r\n\r\n", "POST * HTTP/1.0\r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
	join('', map { chr int rand 256 } 1 .. 300) . "\r\n\r\n");
my $before = memory_kb();
my ($sent, $at) = (0, time);
my $children = 4;
my @pids;
for my $child (1 .. $children)
{
	my $child_pid = fork // die "fork: $!";
	if ($child_pid == 0)
	{
		local $SIG{PIPE} = 'IGNORE';
		for my $i (1 .. $malformed / $children)
		{
			my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port) or next;
			setsockopt $socket, SOL_SOCKET, SO_LINGER, pack('ii', 1, 0);
			syswrite $socket, $rubbish[$i % @rubbish];
			my $vector = '';
			vec($vector, fileno $socket, 1) = 1;
			sysread $socket, my $said, 4096 if $i % 20 == 0 && select($vector, undef, undef, 0.02);
			close $socket;
		}
		POSIX::_exit(0);
	}
	push @pids, $child_pid;
}
honest_are_served('rubbish');
my $honest = 20;
waitpid $_, 0 for @pids;
note sprintf '%d malformed requests in %.1f s', $malformed, time - $at;
is($node->safe_psql('postgres', 'SELECT count(*) FROM smartlead_events'), $stored + $honest, 'nothing of the rubbish is stored');
is(receiver_pid($node), $pid, 'it is still the same receiver');
cmp_ok(memory_kb(), '<', $before + 10_000, 'its memory has not grown');
note "memory: $before kB before, " . memory_kb() . ' kB after';
honest_are_served('after all');

# Connections of one address
$node->safe_psql('postgres', 'ALTER SYSTEM SET smartlead.max_connections_per_address = 5');
$node->reload;
sleep 1;
my @many = map { IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port) } 1 .. 5;
is(send_event($url, event()), 599, 'a sixth connection from one address is refused');
is( HTTP::Tiny->new(timeout => 5, local_address => '127.0.0.9')->get("http://127.0.0.1:$port/healthz")->{status},
	200, 'not one from another address');
close $_ for @many;
$node->safe_psql('postgres', 'ALTER SYSTEM RESET smartlead.max_connections_per_address');
$node->reload;
receiver_listens($port);

# Other than by its token, nothing tells whether a request came near
my $unknown = raw_http($port, "POST /smartlead/x HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}", 1);
my $wrong = raw_http($port, 'POST /smartlead/' . 'A' x 43 . " HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}", 1);
s/Date: [^\r]*// for $unknown, $wrong;
is($unknown, $wrong, 'a token of the right form is answered like any other');
ok(!log_has($node, qr/PANIC|terminated by signal|server process/), 'no crash in the log');

$node->stop;
done_testing();
