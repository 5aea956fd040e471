# One rate limit per API key: sessions keep it together, as fast as it allows, and learn from what
# Smartlead says.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SmartleadTest;
use Test::More;

my $node = smartlead_node('main');
my $mapping = "CREATE USER MAPPING FOR CURRENT_USER SERVER";

sub limited
{
	my ($name, $limit, %more) = @_;
	connect_sandbox($node, name => $name, options => { rate_limit => $limit, %{ $more{options} || {} } },
		$more{key} ? (key => $more{key}) : ());
}

# Runs the SQL in so many sessions at once; dies if one fails.
sub at_once
{
	my ($sessions, $sql) = @_;
	my @runs = map {
		my ($in, $out, $err) = ($sql, '', '');
		[ IPC::Run::start([ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres') ],
				\$in, \$out, \$err), \$err ]
	} 1 .. $sessions;
	$_->[0]->finish or die ${ $_->[1] } for @runs;
}

sub log_entries
{
	return @{ sandbox_get('/_sandbox/log') };
}

# 60 requests of four sessions, with a limit that the service enforces: five times two seconds are
# the least that it can take.
limited('shared', '10/2s');
sandbox_post('/_sandbox/config', { rate_limit => '10/2s' });
at_once(4, q{SELECT count(*) FROM generate_series(1, 15) AS n, LATERAL (SELECT smartlead_pause_lead(549768, 3499513771 + n * 0, 'shared')) AS p});
my @log = log_entries();
is(scalar(@log), 60, 'sixty requests');
is(scalar(grep { $_->{status} == 429 } @log), 0, 'none was refused');
my $took = ($log[-1]{at} - $log[0]{at}) / 1000;
cmp_ok($took, '<=', 1.1 * 10, "in at most 1.1 of the floor ($took s)");
cmp_ok($took, '>=', 10, 'and not faster than allowed');
is( $node->safe_psql('postgres', q{SELECT throttled > 0 AND retries = 0 FROM smartlead_stat_requests WHERE connection = 'shared'}),
	't', 'the waits are counted');

# Two connections with one key keep one limit; another key has its own.
sandbox_post('/_sandbox/reset');
$node->restart; # forgets the last seconds
limited('twin', '10/2s');
limited('other', '10/2s', key => 'sandbox-key-beta');
$node->safe_psql('postgres', q{SELECT smartlead_pause_lead(549768, 3499513771, 'shared') FROM generate_series(1, 10)});
$node->safe_psql('postgres', q{SELECT count(*) FROM smartlead_list_campaigns(connection => 'other')});
$node->safe_psql('postgres', q{SELECT count(*) FROM smartlead_list_campaigns(connection => 'twin')});
@log = log_entries();
cmp_ok($log[-1]{at} - $log[0]{at}, '>=', 1990, 'the eleventh request of the key waited');
cmp_ok($log[10]{at} - $log[9]{at}, '<', 1500, 'the other key did not');

# 429: everybody with this key waits as long as Retry-After says.
sandbox_post('/_sandbox/reset');
sandbox_post('/_sandbox/fault', { kind => 'status', status => 429, headers => { 'Retry-After' => '2' } });
at_once(3, q{SELECT count(*) FROM smartlead_list_campaigns(connection => 'sandbox')});
@log = log_entries();
is(scalar(grep { $_->{status} == 429 } @log), 1, 'one refusal');
my ($refused) = grep { $_->{status} == 429 } @log;
my @early = grep { $_->{n} > $refused->{n} && $_->{at} - $refused->{at} > 60 && $_->{at} - $refused->{at} < 1990 } @log;
is(scalar(@early), 0, 'and nobody asked before the time was over');
sandbox_post('/_sandbox/reset');
sandbox_post('/_sandbox/fault', { kind => 'status', status => 429 });
$node->safe_psql('postgres', q{SELECT count(*) FROM smartlead_list_campaigns(connection => 'sandbox')});
@log = log_entries();
cmp_ok($log[1]{at} - $log[0]{at}, '>=', 450, 'without Retry-After, it waits by itself');

# Somebody else uses the key as well: what the headers say is believed.
sandbox_post('/_sandbox/reset');
$node->restart;
sandbox_post('/_sandbox/config', { rate_limit => '10/3s' });
limited('learning', '10/3s');
my $url = sandbox_url() . '/leads/fetch-categories?api_key=sandbox-key-alpha';
http_request('GET', $url) for 1 .. 6;
$node->safe_psql('postgres', q{SELECT smartlead_ping('learning') FROM generate_series(1, 8)});
@log = log_entries();
is(scalar(grep { $_->{status} == 429 } @log), 0, 'foreign requests are taken into account');

# Without preload, a session keeps the limit by itself.
sandbox_post('/_sandbox/reset');
sandbox_post('/_sandbox/config', { rate_limit => '10/2s' });
$node->append_conf('postgresql.conf', q{shared_preload_libraries = ''});
$node->restart;
$node->safe_psql('postgres', q{SELECT smartlead_pause_lead(549768, 3499513771, 'shared') FROM generate_series(1, 12)});
@log = log_entries();
is(scalar(grep { $_->{status} == 429 } @log), 0, 'no refusal without preload');
cmp_ok($log[-1]{at} - $log[0]{at}, '>=', 1990, 'and the limit is kept');

done_testing();
