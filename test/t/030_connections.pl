# Connections are reused; what must not be done twice is not sent twice.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SmartleadTest;
use Test::More;

my $node = smartlead_node('main', conf => 'log_min_messages = debug1');
my $campaigns = 'SELECT count(*) FROM smartlead_list_campaigns()';

# The SQLSTATE of a statement that fails, or what it returns.
sub outcome
{
	my ($sql) = @_;
	my ($code, $out, $err) = $node->psql('postgres', "\\set VERBOSITY sqlstate\n$sql");
	return $err =~ /ERROR:\s+(\S+)/ ? $1 : $out;
}

sub requests
{
	return @{ sandbox_get('/_sandbox/log') };
}

sub connections_of
{
	my %seen = map { $_->{connection} => 1 } @_;
	return scalar keys %seen;
}

sandbox_post('/_sandbox/reset');
$node->safe_psql('postgres', "$campaigns; SELECT smartlead_pause_lead(549768, 3499513771);" x 10);
my @log = requests();
is(scalar(@log), 20, 'twenty requests');
is(connections_of(@log), 1, 'over one connection');
like($log[0]{user_agent}, qr{^smartlead-postgresql/1\.0}, 'the user agent is our own');
like($log[0]{encoding}, qr/gzip/, 'compressed answers are welcome');

sandbox_post('/_sandbox/reset');
$node->safe_psql('postgres', "$campaigns; SELECT smartlead_create_campaign('x'); $campaigns");
@log = requests();
my ($create) = grep { $_->{path} eq '/campaigns/create' } @log;
is(scalar(grep { $_->{connection} == $create->{connection} && $_->{n} < $create->{n} } @log), 0,
	'a write that must not be repeated gets a connection of its own');

sandbox_post('/_sandbox/config', { gzip => JSON::PP::true() });
is($node->safe_psql('postgres', 'SELECT count(*) FROM smartlead_list_leads(600001)'), 10000, 'gzip');

# The other side has closed the connection in the meantime.
my ($port) = sandbox_url() =~ /:(\d+)/;
{
	my ($in, $out, $err) = ("$campaigns;\n\\echo first\n", '', '');
	my $psql = IPC::Run::start([ 'psql', '-XqAt', '-d', $node->connstr('postgres') ], \$in, \$out, \$err);
	$psql->pump until $out =~ /first/;
	start_sandbox('--port', $port);
	$in .= "$campaigns;\n\\echo second\n\\q\n";
	$psql->finish;
	like($out, qr/\d\nfirst\n5\nsecond/, 'a connection that is dead is replaced');
	is($err, '', 'without an error');
}

# A proxy of the environment is not for a loopback address.
{
	local $ENV{http_proxy} = 'http://127.0.0.1:9';
	$node->restart;
	is($node->safe_psql('postgres', $campaigns), 5, 'no proxy on the loopback');
}

# Writes that must not be done twice, in doubt: sent once, and told.
foreach my $fault (
	{ kind => 'process_then_drop' }, { kind => 'drop' },
	map { { kind => 'status', status => $_ } } 500, 502, 503, 504)
{
	my $name = "$fault->{kind} " . ($fault->{status} || '');
	sandbox_post('/_sandbox/reset');
	sandbox_post('/_sandbox/fault', { %$fault, path => '/campaigns/create' });
	is(outcome(q{SELECT smartlead_create_campaign('once')}), 'SL520', "$name: the outcome is unknown");
	is(scalar(grep { $_->{path} eq '/campaigns/create' } requests()), 1, "$name: sent once");
	my $made = grep { $_->{name} eq 'once' } @{ sandbox_get('/_sandbox/state/campaigns') };
	cmp_ok($made, '<=', 1, "$name: done at most once");

	sandbox_post('/_sandbox/reset');
	sandbox_post('/_sandbox/fault', { %$fault, path => '/campaigns/549768/email-accounts' });
	is(outcome(q{SELECT smartlead_add_campaign_email_accounts(549768, '{2909}')}), 'SL520', "$name: accounts, too");
	is(scalar(requests()), 1, "$name: sent once, too");
}

# Those that may be repeated are, but for 500, which is seldom passing.
foreach my $fault ({ kind => 'process_then_drop' }, { kind => 'drop' }, map { { kind => 'status', status => $_ } } 502, 503, 504)
{
	my $name = "$fault->{kind} " . ($fault->{status} || '');
	sandbox_post('/_sandbox/reset');
	sandbox_post('/_sandbox/fault', $fault);
	is(outcome(q{SELECT smartlead_pause_lead(549768, 3499513771)}), 't', "$name: a pause is repeated");
	is(scalar(requests()), 2, "$name: sent twice");
}
sandbox_post('/_sandbox/reset');
sandbox_post('/_sandbox/fault', { kind => 'status', status => 500 });
is(outcome($campaigns), 5, 'a 500 is asked again when reading');
sandbox_post('/_sandbox/fault', { kind => 'status', status => 500 });
is(outcome(q{SELECT smartlead_pause_lead(549768, 3499513771)}), 'SL503', 'and is an error when writing');
sandbox_post('/_sandbox/fault', { kind => 'status', status => 429, path => '/campaigns/create', headers => { 'Retry-After' => '1' } });
like(outcome(q{SELECT (smartlead_create_campaign('refused first')).name}), qr/refused first/, 'a refused write is sent again');

# Nobody listens: tried again, then told; for writes as well, since nothing was sent.
stop_sandbox();
$node->safe_psql('postgres', 'SELECT smartlead_stat_reset()');
$node->safe_psql('postgres', q{ALTER SERVER sandbox OPTIONS (ADD max_retries '1')});
is(outcome($campaigns), 'SL503', 'connection refused');
is(outcome(q{SELECT smartlead_create_campaign('x')}), 'SL503', 'also for a write');
is($node->safe_psql('postgres', q{SELECT max(retries) FROM smartlead_stat_requests WHERE endpoint = 'create_campaign'}), 1, 'which was tried again');

done_testing();
