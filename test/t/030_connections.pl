# The way to Smartlead: connections are kept, and what must not be done twice is sent once.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SmartleadSession;
use SmartleadTest;
use Test::More;

# A proxy that would refuse everything, if it were asked.
my $nobody = free_port();
$ENV{$_} = "http://127.0.0.1:$nobody" for qw(http_proxy HTTP_PROXY https_proxy all_proxy ALL_PROXY);

my $get = 'SELECT name FROM smartlead_get_campaign(549768)';
my $create = q{SELECT name FROM smartlead_create_campaign('Made once')};
my $add = 'SELECT smartlead_add_campaign_email_accounts(549768, ARRAY[2909])';
my $pause = 'SELECT smartlead_pause_lead(549768, 3499513771)';

# Before the environment reaches this test's own requests.
my $node = smartlead_node('main', extension => 0);
delete @ENV{qw(http_proxy HTTP_PROXY https_proxy all_proxy ALL_PROXY)};
start_sandbox();
$node->safe_psql('postgres', 'CREATE EXTENSION smartlead');
connect_sandbox($node);
my $session = SmartleadSession->new($node);

sub log_of
{
	my ($path) = @_;
	return @{ sandbox_get("/_sandbox/log?path=$path") };
}

sub connections
{
	my %seen = map { $_->{connection} => 1 } @_;
	return scalar keys %seen;
}

# ---- connections are kept ----

is($session->query($get), 'Spring dentists', 'no proxy of the environment is asked on the loopback')
  for 1 .. 20;
is(connections(log_of('*')), 1, 'twenty calls of a session share a connection');
like((log_of('*'))[0]{user_agent}, qr{^smartlead-postgresql/\d+\.\d+$}, 'we say who we are');
like((log_of('*'))[0]{encoding}, qr/gzip/, 'we accept compressed answers');

$session->query($create);
$session->query($get);
is(connections(log_of('*')), 2, 'a write that must not be repeated gets a connection of its own');
connect_sandbox($node, name => 'shouting', options => { base_url => sandbox_url() =~ s/^http/HTTP/r });
is($session->query(q{SELECT name FROM smartlead_get_campaign(549768, connection => 'shouting')}), 'Spring dentists', 'S6: nor by a scheme in capitals');
$session->query('DROP SERVER shouting CASCADE');

sandbox_post('/_sandbox/reset');
$session->query('SELECT count(*) FROM smartlead_list_leads(600001)');
cmp_ok(connections(log_of('*')), '<=', 10, 'a listing of 102 pages needs few connections');

sandbox_post('/_sandbox/config', { gzip => \1 });
is($session->query('SELECT count(*) FROM smartlead_list_leads(600001)'),
	10000, 'compressed answers are read');

# The server of the other side goes, and with it the connections that we kept.
my ($port) = sandbox_url() =~ /:(\d+)/;
start_sandbox('--port', $port);
is($session->query($get), 'Spring dentists', 'a connection that was closed meanwhile is replaced');
start_sandbox('--port', $port);
is($session->query($create), 'Made once', 'also for a write that must not be repeated');
start_sandbox('--port', $port);
is($session->query($pause), 't', 'and for one that may be');

# ---- what is sent again, and what is not ----

my ($requests, $campaigns);

sub outcome
{
	my ($sql, @faults) = @_;
	sandbox_post('/_sandbox/reset');
	$campaigns = @{ sandbox_get('/_sandbox/state/campaigns') };
	sandbox_post('/_sandbox/fault', $_) for @faults;
	my $state = $session->sqlstate($sql);
	# Creating reads back what it has made, which is no second attempt.
	$requests = grep { $_->{path} ne '/campaigns/700001' } @{ sandbox_get('/_sandbox/log') };
	$campaigns = @{ sandbox_get('/_sandbox/state/campaigns') } - $campaigns;
	return $state;
}

my @doubtful = (
	[ 'processed, then dropped', { kind => 'process_then_drop' }, 1 ],
	[ 'dropped', { kind => 'drop' }, 0 ],
	[ 'dropped within the answer', { kind => 'drop_mid_body' }, 0 ],
	(map { [ "status $_", { kind => 'status', status => $_ }, 0 ] } 500, 502, 503, 504));

for my $case (@doubtful)
{
	my ($what, $fault, $made) = @$case;

	is(outcome($create, $fault), 'SL520', "create campaign, $what: outcome unknown");
	is("$requests $campaigns", "1 $made", "create campaign, $what: sent exactly once");

	my $repeatable = $what eq 'status 500' ? 'SL503 1' : '00000 2';
	for my $sql ($pause, $add, 'SELECT smartlead_delete_lead(549768, 3499513774)')
	{
		# Deleted already by the first of the two requests: Smartlead doesn't find it any more.
		next if $sql =~ /delete/ && $made;
		my ($name) = $sql =~ /smartlead_(\w+)/;
		is(outcome($sql, $fault) . " $requests", $repeatable, "$name, $what: may be sent again");
	}
	is(outcome($get, $fault) . " $requests", '00000 2', "a lookup, $what: is sent again");
}

is(outcome($create, { kind => 'status', status => 429, headers => { 'Retry-After' => '1' } }),
	'00000', 'create campaign, refused by the rate limit: sent again');
is("$requests $campaigns", '2 1', 'since a refusal has done nothing');

# What was done is not reported as failed because it can't be read back.
is(outcome($create, { kind => 'status', status => 400, path => '/campaigns/700001' }),
	'00000', 'a campaign that was created but could not be read back');
is("$requests $campaigns", '1 1', 'is returned, and is not made again');

# ---- nobody there ----

connect_sandbox(
	$node,
	name => 'nowhere',
	options => { base_url => "http://127.0.0.1:$nobody/api/v1", max_retries => 1 });
connect_sandbox(
	$node,
	name => 'impatient',
	options => { max_retries => 0 });
$session->query('SET smartlead.connection = nowhere');
for my $sql ($get, $create, $pause)
{
	my ($name) = $sql =~ /smartlead_(\w+)/;
	$session->query('SELECT smartlead_stat_reset()');
	is($session->sqlstate($sql), 'SL503', "$name where nobody listens");
	is( $session->query('SELECT calls, errors, retries FROM smartlead_stat_requests'),
		'1|1|1', "$name where nobody listens was tried again: nothing was sent");
}

# It comes up while we try: the write is done, once.
my $late = free_port();
connect_sandbox(
	$node,
	name => 'late',
	options => { base_url => "http://127.0.0.1:$late/api/v1", max_retries => 20 });
$session->query('SET smartlead.connection = late');
$session->start($create);
ok($session->waits_for_smartlead($node), 'V8: a write waits for the service to come up');
start_sandbox('--port', $late);
is($session->finish, 'Made once', 'the write is done when it has');
is(scalar(log_of('/campaigns/create')), 1, 'once');
start_sandbox('--port', $port);

$session->query('SET smartlead.connection = impatient');
is(outcome($get, { kind => 'status', status => 503 }) . " $requests",
	'SL503 1', 'max_retries 0: a lookup is not sent again');
is(outcome($get, { kind => 'status', status => 429, headers => { 'Retry-After' => '0' } })
	  . " $requests",
	'SL429 1', 'nor after a refusal');

$node->safe_psql('postgres', q{ALTER SERVER impatient OPTIONS (SET max_retries '2')});
is(outcome($get, { kind => 'status', status => 503, times => -1 }) . " $requests",
	'SL503 3', 'max_retries 2: two more attempts, then the error');

done_testing();
