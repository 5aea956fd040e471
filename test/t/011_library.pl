# What a libcurl says and does differs from version to version; what was sent and what was not, and
# when a call ends, does not depend on it.
use strict;
use warnings;

use IO::Socket::INET;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SmartleadSession;
use SmartleadShim;
use SmartleadTest;
use Test::More;

my $get = 'SELECT name FROM smartlead_get_campaign(549768)';
my $create = q{SELECT name FROM smartlead_create_campaign('Made once')};

my $shim = shim_env() or plan skip_all => 'no library can be built and preloaded here';
my $node = smartlead_node('main', env => $shim);
my $control = SmartleadSession->new($node);
my $session = SmartleadSession->new($node);

# A port whose queue of connections is full: who connects waits.
my $full = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1') or die "listen: $!";
my @waiting = map {
	IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $full->sockport, Blocking => 0)
} 1 .. 8;

my ($sandbox_port) = sandbox_url() =~ /:(\d+)/;
my %unreachable = (
	'where nobody listens' => 'http://127.0.0.1:' . free_port(),
	'at a host of no name' => 'https://slow.example',
	'at a host that takes no connections' => 'http://127.0.0.1:' . $full->sockport,
	'where no TLS is spoken' => "https://127.0.0.1:$sandbox_port");
shim_on('lookups-end');

connect_sandbox(
	$node,
	name => 'unreachable',
	options => { max_retries => 1, timeout => '1s', connect_timeout => '500ms' });
connect_sandbox(
	$node,
	name => 'silent',
	options => { max_retries => 0, timeout => '500ms' });

# The words with which a call ends; the session is cancelled when it doesn't.
sub error_of
{
	my ($connection, $sql) = @_;
	$session->start("SET smartlead.connection = $connection;\n\\set VERBOSITY verbose\n$sql");
	wait_until(sub { $session->has_ended }, "the end of $sql", 60)
	  or $control->query('SELECT pg_cancel_backend(' . $session->pid . ')');
	my ($out, $err) = $session->finish;
	return $err;
}

sub nothing_was_sent
{
	my ($id, $why) = @_;
	for my $where (sort keys %unreachable)
	{
		$node->safe_psql('postgres',
			"ALTER SERVER unreachable OPTIONS (SET base_url '$unreachable{$where}/api/v1')");
		$session->query('SELECT smartlead_stat_reset()');
		like(error_of('unreachable', $create), qr/SL503/, "$id: a write $where was not sent$why");
		is( $session->query('SELECT calls, errors, retries > 0 FROM smartlead_stat_requests'),
			'1|1|t',
			"$id: and is tried again");
	}
	return;
}

sub something_was_sent
{
	my ($id, $why) = @_;
	for my $case ([ 'hang', 'waiting for' ], [ 'drip', 'reading' ])
	{
		my ($fault, $phase) = @$case;
		sandbox_post('/_sandbox/reset');
		sandbox_post('/_sandbox/fault', { kind => $fault, times => -1, delay_ms => 100 });
		for my $call ([ $get, 'SL408' ], [ $create, 'SL520' ])
		{
			my $said = error_of('silent', $call->[0]);
			like($said, qr/$call->[1]/, "$id: no answer ($fault) is $call->[1]$why");
			like($said, qr/while $phase the answer/, "$id: and the phase is told");
		}
	}
	return;
}

# Newer libraries have times of transfer for what was never sent.
shim_on('transfer-times');
nothing_was_sent('V4', ', whatever times libcurl tells');
something_was_sent('V4', ', whatever times libcurl tells');
shim_off('transfer-times');

# Older ones may forget their own timeouts.
shim_on('no-timeouts');
nothing_was_sent('V5', ', though libcurl never gives up');
something_was_sent('V5', ', though libcurl never gives up');
shim_off('no-timeouts');

sandbox_post('/_sandbox/reset');
is($session->query("SET smartlead.connection = sandbox;\n$get"),
	'Spring dentists', 'the session is well');

done_testing();
