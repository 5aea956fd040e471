# A call to Smartlead ends at once when it is to end, whatever it waits for, and disturbs nobody.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SmartleadSession;
use SmartleadShim;
use SmartleadTest;
use Test::More;
use Time::HiRes qw(time);

my $tries = 5;
my $list = 'SELECT count(*) FROM smartlead_list_leads(600001)';
my $get = 'SELECT name FROM smartlead_get_campaign(549768)';

my $limited = q{SELECT name FROM smartlead_get_campaign(810001, connection => 'limited')};

my $shim = shim_env();
my $node = smartlead_node('main', conf => 'smartlead.connection = sandbox', env => $shim);
$node->safe_psql('postgres', q{ALTER SERVER sandbox OPTIONS (ADD timeout '1h')});
my $control = SmartleadSession->new($node);
my $session = SmartleadSession->new($node);

# One request an hour, and that one is made.
connect_sandbox(
	$node,
	name => 'limited',
	key => 'sandbox-key-beta',
	options => { rate_limit => '1/1h' });
$session->query($limited);

# Below 7.87 libcurl waits for its resolver's thread, as docs/security.md says.
my ($major, $minor) = `curl --version` =~ m{libcurl/(\d+)\.(\d+)};
my $leaves_lookups = $shim && defined $minor && ($major > 7 || $minor >= 87);

# Its name is looked up for as long as the shim likes.
connect_sandbox(
	$node,
	name => 'slow',
	options => {
		base_url => 'https://slow.example/api/v1',
		timeout => '1h',
		connect_timeout => '1h',
		max_retries => 0
	});
my $slow = q{SELECT smartlead_create_campaign('Never', connection => 'slow')};

# The sandbox has so many requests that it has not answered, and the session waits.
sub under_way
{
	my ($count, $answered) = @_;
	return wait_until(
		sub {
			my @log = @{ sandbox_get('/_sandbox/log') };
			return @log == $count
			  && scalar(grep { $_->{status} } @log) == $answered
			  && waits();
		},
		"$count requests are under way");
}

sub waits
{
	return $control->query('SELECT state, wait_event_type FROM pg_stat_activity WHERE pid = '
		  . $session->pid) eq 'active|Extension';
}

# Each phase: what makes the call wait there, the call, and whether it waits there.
my @phases = (
	{
		name => 'with latency before the answer',
		prepare => sub { sandbox_post('/_sandbox/config', { latency_ms => 600000 }) },
		there => sub { under_way(1, 0) },
	},
	{
		name => 'when no answer ever comes',
		prepare => sub { sandbox_post('/_sandbox/fault', { kind => 'hang' }) },
		there => sub { under_way(1, 0) },
	},
	{
		name => 'within a body that drips',
		prepare => sub { sandbox_post('/_sandbox/fault', { kind => 'drip', delay_ms => 50 }) },
		call => $list,
		there => sub { under_way(1, 1) },
	},
	{
		name => 'while it waits for the rate limit',
		prepare => sub { },
		call => $limited,
		there => sub { under_way(0, 0) },
	},
	{
		name => 'while it waits to try again',
		prepare => sub {
			sandbox_post('/_sandbox/fault',
				{ kind => 'status', status => 503, headers => { 'Retry-After' => '600' } });
		},
		there => sub { under_way(1, 1) },
	},
	{
		name => 'with many pages under way',
		prepare => sub {
			sandbox_post('/_sandbox/fault', { kind => 'hang', skip => 1, times => -1 });
		},
		call => $list,
		there => sub { under_way(9, 1) },
	});
push @phases,
  {
	name => 'while a name is looked up',
	prepare => sub { shim_off('lookup-begun') },
	call => $slow,
	there => sub {
		wait_until(sub { shim_is_on('lookup-begun') }, 'the lookup') && under_way(0, 0);
	},
  }
  if $leaves_lookups;

sub start_in
{
	my ($phase) = @_;
	sandbox_post('/_sandbox/reset');
	$phase->{prepare}->();
	$session->start_sqlstate($phase->{call} || $get);
	return $phase->{there}->();
}

for my $phase (@phases)
{
	my ($best, $there, %states) = (1e9, 1);
	for (1 .. $tries)
	{
		$there &&= start_in($phase);
		my $start = time;
		$control->query('SELECT pg_cancel_backend(' . $session->pid . ')');
		$states{ $session->finish_sqlstate }++;
		my $took = time - $start;
		$best = $took if $took < $best;
	}
	ok($there, "the call waits $phase->{name}");
	is(join(' ', keys %states), '57014', "cancelled $phase->{name}");
	note sprintf 'cancelled after %.3f s %s', $best, $phase->{name};
	sandbox_post('/_sandbox/reset');
	is($session->query($get), 'Spring dentists', "the session works on, cancelled $phase->{name}");
	is($session->query('SELECT count(*) FROM smartlead_list_leads(549768)'),
		5, "and lists, cancelled $phase->{name}");
}

# PostgreSQL's own timeout, with its own words.
for my $phase (@phases)
{
	sandbox_post('/_sandbox/reset');
	$phase->{prepare}->();
	my ($out, $err) = $session->query("SET statement_timeout = '300ms';\n"
		  . ($phase->{call} || $get)
		  . ";\nRESET statement_timeout");
	like($err, qr/canceling statement due to statement timeout/, "timed out $phase->{name}");
}

# A lookup goes on in a thread of its own, which nobody waits for: not the call whose connect_timeout
# is over, which then hears nothing, not even SIGQUIT, and not the end of the session.
SKIP:
{
	skip 'no resolver of our own can be preloaded, or libcurl waits for it', 4 unless $leaves_lookups;
	$node->safe_psql('postgres', q{ALTER SERVER slow OPTIONS (SET connect_timeout '1s')});
	$session->start_sqlstate($slow);
	ok(wait_until(sub { $session->has_ended }, 'the end of a call whose name is looked up', 60),
		'C4: connect_timeout ends a call while the resolver still waits');
	shim_on('lookups-end') unless Test::More->builder->is_passing;
	is($session->finish_sqlstate, 'SL503', 'C4: and the call was not sent');
	shim_off('lookups-end');
	is($session->query($get), 'Spring dentists', 'C4: the session works on beside the lookup');

	my $other = SmartleadSession->new($node);
	$node->safe_psql('postgres', q{ALTER SERVER slow OPTIONS (SET connect_timeout '1h')});
	shim_off('lookup-begun');
	$other->start_sqlstate($slow);
	wait_until(sub { shim_is_on('lookup-begun') }, 'the lookup');
	$control->query('SELECT pg_terminate_backend(' . $other->pid . ')');
	is($other->finish_sqlstate, '57P01', 'C4: a session ends while a name is looked up');
}

# Another database can be dropped while a call is under way, which asks all backends to take notice.
ok(start_in($phases[1]), 'a call is under way');
$node->safe_psql('postgres', 'CREATE DATABASE other');
is($control->sqlstate("SET statement_timeout = '60s';\nDROP DATABASE other"),
	'00000', 'another database is dropped meanwhile');
ok(waits(), 'and the call is still under way');

# Somebody ends the session.
$control->query('SELECT pg_terminate_backend(' . $session->pid . ')');
is($session->finish_sqlstate, '57P01', 'the session is ended');
ok( $node->poll_query_until(
		'postgres', 'SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = ' . $session->pid),
	'its backend is gone');

# The server is stopped: pg_ctl gives up long before the request would.
$session = SmartleadSession->new($node);
ok(start_in($phases[5]), 'a listing is under way');
$node->stop('fast');
is($session->finish_sqlstate, '57P01', 'a fast shutdown ends it');
$node->start;
sandbox_post('/_sandbox/reset');
is($node->safe_psql('postgres', $get), 'Spring dentists', 'the server works again');

done_testing();
