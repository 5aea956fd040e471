# The helpers that the other tests stand on: a node with the extension, with and without preload,
# and a sandbox that answers.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use SmartleadTest;

my $node = smartlead_node('preloaded');
is($node->safe_psql('postgres', 'SHOW shared_preload_libraries'),
	'smartlead', 'the library is preloaded');
is( $node->safe_psql(
		'postgres',
		q{SELECT count(*) FROM pg_foreign_server WHERE srvname = 'sandbox'}),
	'1', 'one connection to the sandbox');
ok(sandbox_post('/_sandbox/reset'), 'the sandbox can be reset');
ok(!log_has($node, qr/PANIC/), 'no panic in the log');
$node->stop;

my $plain = smartlead_node('plain', preload => 0);
is($plain->safe_psql('postgres', 'SHOW shared_preload_libraries'), '', 'nothing is preloaded');
$plain->stop;

my $url = sandbox_url();
my ($port) = $url =~ /:(\d+)/;
start_sandbox('--port', $port);
is(sandbox_url(), $url, 'the sandbox is back on its port');

done_testing();
