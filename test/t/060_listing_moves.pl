# Rows that move while they are listed, with pages one after the other and ahead; and the memory
# that a listing takes.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SmartleadTest;
use Test::More;

my $node = smartlead_node('main', sandbox => [ '--big', 200000 ], conf => 'smartlead.connection = sandbox');

foreach my $ahead (1, 8)
{
	$node->safe_psql('postgres', "ALTER SERVER sandbox OPTIONS (@{[ $ahead == 1 ? 'ADD' : 'SET' ]} fetch_concurrency '$ahead')");
	# With each page but the first one row comes in or goes at the head: fewer than 400 in all.
	my %stayed = (insert => 0, delete => 400, swap => 0);
	foreach my $shift (sort keys %stayed)
	{
		sandbox_post('/_sandbox/reset');
		sandbox_post('/_sandbox/config', { shift => $shift });
		is( $node->safe_psql('postgres', qq{
			SELECT count(*) = count(DISTINCT lead_id), count(*) FILTER (WHERE lead_id BETWEEN 3600000000 + $stayed{$shift} AND 3600009999)
			FROM smartlead_list_leads(600001)}),
			't|' . (10000 - $stayed{$shift}), "$shift, $ahead at once: each row that stayed once");
	}
}

# The peak of resident memory over an idle backend: the tuples spill to disk, the pages go.
sandbox_post('/_sandbox/reset');
my $peak = q{SELECT substring(pg_read_file('/proc/self/status') FROM 'VmHWM:\s+(\d+)')::int};
foreach my $campaign ([ 600001, 10000 ], [ 600002, 200000 ])
{
	my ($rows, $grown) = split /\n/, $node->safe_psql(
		'postgres', qq{
		SELECT count(*) FROM smartlead_ping() \\gset
		SELECT ($peak) AS idle \\gset
		SELECT count(*) FROM smartlead_list_leads($campaign->[0]);
		SELECT ($peak) - :idle;});
	is($rows, $campaign->[1], "$campaign->[1] leads");
	cmp_ok($grown, '<=', 20 * 1024, "grow the backend by at most 20 MB ($grown kB)");
}

# No more pages are asked for than max_rows needs.
sandbox_post('/_sandbox/reset');
is($node->safe_psql('postgres', 'SELECT count(*) FROM smartlead_list_leads(600002, max_rows => 150)'), 150, 'max_rows');
is(sandbox_get('/_sandbox/counts')->{requests}, 2, 'two pages');

done_testing();
