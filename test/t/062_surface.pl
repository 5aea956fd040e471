# The SQL functions say what the endpoint table says, and none of them can be called by mistake for
# another.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SmartleadTest;
use Test::More;

my $node = smartlead_node('main');

# All functions of the extension.
$node->safe_psql('postgres', q{
	CREATE VIEW ours AS
	SELECT p.*, p.oid::regprocedure::text AS signature FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid
		AND d.deptype = 'e' JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND e.extname = 'smartlead'});

sub is_nothing
{
	my ($sql, $what) = @_;
	return is($node->safe_psql('postgres', $sql), '', $what);
}

is_nothing(q{
	SELECT p.signature, q.signature FROM ours p JOIN ours q ON p.proname = q.proname AND p.oid < q.oid,
		generate_series(0, least(p.pronargs, q.pronargs) - 1) AS i
	WHERE (p.proargtypes[i] = 'name'::regtype) <> (q.proargtypes[i] = 'name'::regtype)},
	'C5: no argument is an id in one function and a connection in its namesake');

done_testing();
