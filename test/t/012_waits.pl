# What a call waits for, and for how long: what Smartlead asks for, up to a bound; a handshake that
# breaks; a clock that is set, also between jobs.
use strict;
use warnings;

use IO::Socket::INET;
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SmartleadSession;
use SmartleadShim;
use SmartleadTest;
use Socket qw(SOL_SOCKET SO_LINGER);
use Test::More;

my $shim = shim_env();
my $node = smartlead_node('main', env => $shim);
my $control = SmartleadSession->new($node);
my $session = SmartleadSession->new($node);
my $other = SmartleadSession->new($node);

# The verbose words with which a call ends; it is cancelled when it doesn't.
sub end_of
{
	my ($in, $sql) = @_;
	$in->start("\\set VERBOSITY verbose\n$sql");
	return ended($in, $sql);
}

sub ended
{
	my ($in, $what) = @_;
	wait_until(sub { $in->has_ended }, "the end of $what", 60)
	  or $control->query('SELECT pg_cancel_backend(' . $in->pid . ')');
	return join "\n", $in->finish;
}

sub requests
{
	return @{ sandbox_get('/_sandbox/log') };
}

# ---- refusals that ask for a long wait; each with a key that knows of none before ----

my $keys = 0;

sub refused
{
	my ($status, $retry_after, %options) = @_;
	my $name = 'refused_' . ++$keys;
	sandbox_post('/_sandbox/reset');
	connect_sandbox($node, name => $name, key => "key-$keys", options => \%options);
	sandbox_post(
		'/_sandbox/fault',
		{
			kind => 'status',
			status => $status,
			before_auth => \1,
			times => -1,
			headers => { 'Retry-After' => "$retry_after" }
		});
	return "SELECT smartlead_get_campaign(549768, connection => '$name')";
}

for my $case ([ 429, 86400 ], [ 429, 3_000_000 ], [ 503, 86400 ], [ 503, 3_000_000 ])
{
	my ($status, $seconds) = @$case;
	my $call = refused($status, $seconds);
	my $said = end_of($session, $call);
	like($said, qr/SL$status/, "C7: $status with Retry-After $seconds is an error at once");
	like($said, qr/HINT:  Try again in $seconds s, at \d{4}-/, 'C7: and the hint tells when');
	is(scalar(requests()), 1, 'C7: after one request');
	next if $status == 503;
	like(end_of($other, $call), qr/SL429.*HINT:  Try again in 3[56]\d\d s/s,
		'C7: another session with that key does not wait either');
	is(scalar(requests()), 1, 'C7: nor ask');
}

my $date = POSIX::strftime('%a, %d %b %Y %H:%M:%S GMT', gmtime(time + 86400));
like(end_of($session, refused(429, $date)),
	qr/HINT:  Try again in 86[34]\d\d s/, 'C7: a date is understood');
like(end_of($session, refused(429, 2, max_wait => '1s')),
	qr/HINT:  Try again in 2 s.*max_wait.*1000 ms/s, 'C7: max_wait is the bound');
like(end_of($session, refused(429, 1, max_wait => '0')), qr/HINT:  Try again in 1 s/, 'C7: also 0');
like(end_of($session, refused(429, 1, max_wait => '1s', max_retries => 1)),
	qr/HINT:  Other programs/, 'C7: what is within it is waited for');
is(scalar(requests()), 2, 'C7: and asked again');

# ---- a TLS handshake that is reset ----

# Resets each connection once the client has spoken, and counts them in a file.
my $resetting = IO::Socket::INET->new(Listen => 5, LocalAddr => '127.0.0.1') or die "listen: $!";
my $count_file = PostgreSQL::Test::Utils::tempdir() . '/connections';
my $resetter = fork() // die "fork: $!";
if ($resetter == 0)
{
	while (my $client = $resetting->accept)
	{
		sysread $client, my $hello, 1;
		append_to_file($count_file, '.');
		setsockopt $client, SOL_SOCKET, SO_LINGER, pack('ii', 1, 0);
		close $client;
	}
	POSIX::_exit(0);
}

END
{
	my $status = $?;
	kill 'KILL', $resetter if $resetter;
	$? = $status;
}

connect_sandbox(
	$node,
	name => 'resetting',
	options => {
		base_url => 'https://127.0.0.1:' . $resetting->sockport . '/api/v1',
		max_retries => 2
	});
$session->query('SET smartlead.connection = resetting');
for my $call ('smartlead_get_campaign(549768)', q{smartlead_create_campaign('Never')})
{
	unlink $count_file;
	like(end_of($session, "SELECT $call"), qr/SL503/, "C14: a handshake that is reset, $call");
	is(slurp_file($count_file), '...', 'C14: is tried again like a connection that is refused');
}

# ---- the clock is set ----

SKIP:
{
	skip 'no clock of our own can be preloaded', 6 unless $shim;

	sandbox_post('/_sandbox/reset');
	connect_sandbox($node, name => 'silent', options => { timeout => '3s', max_retries => 0 });
	$session->query('SET smartlead.connection = silent');
	sandbox_post('/_sandbox/fault', { kind => 'hang' });
	$session->start("\\set VERBOSITY verbose\nSELECT smartlead_get_campaign(549768)");
	ok(wait_until(sub { requests() == 1 }, 'the request'), 'C14: a call waits for its answer');
	shim_on('clock', '-3600');
	like(ended($session, 'a call that timed out'),
		qr/SL408/, 'C14: its timeout holds while the clock is set back by an hour');
	shim_off('clock');

	sandbox_post('/_sandbox/reset');
	connect_sandbox($node, name => 'limited', key => 'sandbox-key-beta', options => { rate_limit => '1/3s' });
	my $limited = q{SELECT smartlead_get_campaign(810001, connection => 'limited')};
	unlike(end_of($session, $limited), qr/ERROR/, 'C14: a call within the limit');
	shim_on('clock', '3600');
	unlike(end_of($session, $limited), qr/ERROR/, 'C14: another one, the clock set on by an hour');
	my @at = map { $_->{at} } requests();
	cmp_ok($at[1] - $at[0], '>=', 2990, 'C14: waits for its place all the same');
	shim_off('clock');

	# Two jobs on a lead, between which it is set back.
	my $job = q{SELECT smartlead_enqueue('pause_lead', '{"campaign_id": 810001, "lead_id": 4000000001}', connection => 'limited')};
	my $first = $node->safe_psql('postgres', $job);
	shim_on('clock', '-300');
	my $second = $node->safe_psql('postgres', $job);
	shim_off('clock');
	is($node->safe_psql('postgres', q{SELECT string_agg(id::text, ' ' ORDER BY run_at, id) FROM smartlead_queue}), "$first $second",
		'Q13: two jobs on a lead keep their order though the clock is set back between them');
}

done_testing();
