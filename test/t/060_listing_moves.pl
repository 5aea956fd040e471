# A listing whose rows move under it loses and repeats none that was there all the time, and takes
# no more memory for two hundred thousand rows than for ten thousand.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SmartleadSession;
use SmartleadTest;
use Test::More;

my $node = smartlead_node('main', conf => "log_statement = none\n", sandbox => [ '--big', 200000 ]);
my $session = SmartleadSession->new($node);
my $listed = 'SELECT lead_id FROM smartlead_list_leads(600001)';

$session->query('CREATE TABLE before (lead_id bigint); CREATE TABLE moving (LIKE before); '
	  . 'CREATE TABLE after (LIKE before)');

for my $concurrency (1, 2, 8)
{
	$node->safe_psql('postgres',
		"ALTER SERVER sandbox OPTIONS (@{[$concurrency == 1 ? 'ADD' : 'SET']} fetch_concurrency '$concurrency')");
	for my $shift (qw(insert delete swap))
	{
		my $what = "$shift between pages, $concurrency at once";
		my $list = sub { $session->query("INSERT INTO $_[0] $listed") };
		$session->query('TRUNCATE before, moving, after');
		sandbox_post('/_sandbox/reset');
		$list->('before');
		sandbox_post('/_sandbox/config', { shift => $shift });
		my (undef, $error) = $list->('moving');
		is($error, '', "$what: the listing succeeds");
		sandbox_post('/_sandbox/config', { shift => 'none' });
		$list->('after');
		my ($stayed) = $session->query(
			'SELECT count(*) FROM (SELECT * FROM before INTERSECT SELECT * FROM after) s');
		cmp_ok($stayed, '>', 9000, "$what: most rows were there all the time");
		is( $session->query(
				'SELECT count(*) FROM (SELECT * FROM before INTERSECT SELECT * FROM after '
				  . 'EXCEPT SELECT * FROM moving) s'),
			0, "$what: none of them is missing");
		is($session->query('SELECT count(*) - count(DISTINCT lead_id) FROM moving'),
			0, "$what: no row came twice");
		note sprintf '%s: %s rows before, %s stayed', $what,
		  scalar $session->query('SELECT count(*) FROM before'), $stayed;
	}
}

# ---- as far as is wanted ----

sub requests
{
	my ($sql) = @_;
	sandbox_post('/_sandbox/reset');
	$session->query($sql);
	return scalar @{ sandbox_get('/_sandbox/log') };
}

is(requests('SELECT count(*) FROM smartlead_list_leads(600001, max_rows => 0)'),
	0, 'no rows wanted: no request');
is(requests('SELECT count(*) FROM smartlead_list_leads(600001, max_rows => 10)'),
	1, 'ten rows wanted: one page');
cmp_ok(requests('SELECT count(*) FROM smartlead_list_leads(600001, max_rows => 250)'),
	'<=', 4, '250 rows wanted: no page too many');
is($session->query('SELECT count(*) FROM smartlead_list_leads(600001, max_rows => 250)'),
	250, 'and all of them come');
is($session->query('SELECT count(*) FROM smartlead_list_leads(600001, max_rows => 1000000)'),
	10000, 'more than there are: all');

# ---- memory ----

SKIP:
{
	skip 'no /proc', 4 unless -r '/proc/self/status';
	sandbox_post('/_sandbox/reset');
	for my $case ([ 600001, 10000 ], [ 600002, 200000 ])
	{
		my ($campaign, $rows) = @$case;
		my $fresh = SmartleadSession->new($node);
		my $peak = sub {
			my ($kb) = slurp_file('/proc/' . $fresh->pid . '/status') =~ /^VmHWM:\s+(\d+)/m;
			return $kb;
		};
		$fresh->query('SELECT 1');
		my $idle = $peak->();
		is($fresh->query("SELECT count(*) FROM smartlead_list_leads($campaign)"),
			$rows, "$rows leads are listed");
		my $grown = ($peak->() - $idle) / 1024;
		cmp_ok($grown, '<=', 20, "the backend's peak has grown by at most 20 MB");
		note sprintf '%d leads: %.1f MB over an idle backend', $rows, $grown;
		$fresh->quit;
	}
}

done_testing();
