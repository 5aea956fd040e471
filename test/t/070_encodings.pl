# Databases that don't speak UTF-8.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SmartleadTest;
use Test::More;

my $node = smartlead_node('main');
my $lead = q{FROM smartlead_get_lead(3499513772)};
foreach my $encoding (qw(LATIN1 SQL_ASCII))
{
	my $database = lc $encoding;
	$node->safe_psql('postgres', "CREATE DATABASE $database TEMPLATE template0 ENCODING '$encoding' LC_COLLATE 'C' LC_CTYPE 'C'");
	$node->safe_psql($database, 'CREATE EXTENSION smartlead');
	connect_sandbox($node, database => $database);
}
sandbox_post('/_sandbox/reset');

my $ada = q{FROM smartlead_get_lead(3499513771)};
is($node->safe_psql('latin1', q{SELECT smartlead_update_lead(549768, 3499513771, last_name => 'L' || chr(246) || 'f')}), 't', 'an umlaut is sent');
is($node->safe_psql('latin1', "SELECT octet_length(last_name), ascii(substr(last_name, 2)) $ada"), '3|246', 'and comes back as one byte of Latin-1');
is($node->safe_psql('postgres', "SELECT last_name = 'L' || chr(246) || 'f' $ada"), 't', 'the same letter in UTF-8');
my ($code, $out, $err) = $node->psql('latin1', "SELECT custom_fields $lead");
like($err, qr/has no equivalent in encoding "LATIN1"/, 'an emoji can not be had in Latin-1, and that is said');
is($node->safe_psql('latin1', 'SELECT 1'), 1, 'the session goes on');
is($node->safe_psql('sql_ascii', 'SELECT count(*) FROM smartlead_list_leads(549768)'), 5, 'SQL_ASCII takes the bytes as they are');
like($node->safe_psql('sql_ascii', q{SELECT smartlead_block_domain('x.example')}), qr/^1$/, 'and writes');

done_testing();
