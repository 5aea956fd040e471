# A receiver that stores a million events needs no more memory than one that has stored a hundred thousand.
use strict;
use warnings;

use IO::Socket::INET;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use SmartleadTest;
use WebhookTest;

my $in_a_request = 1000;
my $number = 0;

my ($node, $port) = webhook_node('memory');
my $url = webhook_url($node);
my $pid = receiver_pid($node);
my ($path) = $url =~ m{^http://[^/]+(/.*)$};
my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port) or die "no connection: $!";

sub memory_kb
{
	return slurp_file("/proc/$pid/status") =~ /^RssAnon:\s+(\d+)/m ? $1 : 0;
}

sub body
{
	my ($count) = @_;
	return '[' . join(
		',',
		map {
			$number++;
			my $lead = $number % 1000;
			qq({"event_type":"EMAIL_OPEN","stats_id":"s$number","campaign_id":549768,"lead_email":"lead$lead\@clinic.example",)
			  . qq("sequence_number":1,"subject":"Hello \\u20ac $number","event_timestamp":"2026-03-03T09:27:27.234Z"})
		} 1 .. $count) . ']';
}

# The status of the answer. A request goes out in one piece on a connection that stays: HTTP::Tiny sends two,
# and the second one waits 40 ms for the first one's acknowledgement.
sub post
{
	my ($body) = @_;
	my $answer = '';
	print {$socket} "POST $path HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: "
	  . length($body) . "\r\n\r\n$body";
	$socket->flush;
	until ($answer =~ /^Content-Length: (\d+).*?\r\n\r\n(.*)/ims and length $2 >= $1)
	{
		sysread $socket, $answer, 65536, length $answer or die 'the receiver has closed the connection';
	}
	return $answer =~ m{^HTTP/1.1 (\d+)} ? $1 : 0;
}

# Sends so many events, in requests of several; the number of requests that were not answered 200.
sub send_events
{
	my ($events, $at_once) = @_;
	my $bad = 0;
	for (1 .. $events / $at_once)
	{
		$bad++ if post(body($at_once)) != 200;
	}
	return $bad;
}

is(send_events(5_000, 1), 0, 'five thousand events, one by one');
is(send_events(95_000, $in_a_request), 0, 'up to a hundred thousand');
my $before = memory_kb();
is(send_events(900_000, $in_a_request), 0, 'up to a million');
is(send_events(5_000, 1), 0, 'and some more, one by one');
my $after = memory_kb();
note "the receiver's own memory: $before kB after a hundred thousand events, $after kB after a million";
cmp_ok($before, '>', 0, 'memory is measured');
cmp_ok($after, '<=', $before + 1024, 'memory has not grown');
is(receiver_pid($node), $pid, 'in the same process');
is($node->safe_psql('postgres', 'SELECT count(*) FROM smartlead_events'), 1_005_000, 'every event is stored');

$node->stop;
done_testing();
