# What there is, is documented: every function, table and view of the extension, and every setting.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SmartleadTest;
use Test::More;

my $node = smartlead_node('main');
my $text = join "\n", map { slurp_file($_) } glob 'docs/*.md';

my @objects = split /\n/, $node->safe_psql(
	'postgres', q{
	SELECT DISTINCT coalesce(p.proname, c.relname) FROM pg_depend d
	JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'smartlead' AND d.deptype = 'e'
	LEFT JOIN pg_proc p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid AND p.prorettype <> 'trigger'::regtype
	LEFT JOIN pg_class c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid AND c.relkind IN ('r', 'v')
	WHERE coalesce(p.proname, c.relname) IS NOT NULL AND coalesce(p.proname, '') <> 'smartlead_fdw_validator'});
cmp_ok(scalar(@objects), '>', 40, 'there is much to document');
is(join(', ', sort grep { $text !~ /\b\Q$_\E\b/ } @objects), '', 'every function, table and view is');

my @settings = split /\n/, $node->safe_psql('postgres', q{SELECT name FROM pg_settings WHERE name LIKE 'smartlead.%'});
is(join(', ', grep { $text !~ /`\Q$_\E`/ } @settings), '', 'and every setting');


# settings.md says of each what it says of itself.
my $said = slurp_file('docs/settings.md');
is($node->safe_psql('postgres', q{SELECT string_agg(name, ', ') FROM pg_settings WHERE name LIKE 'smartlead.%' AND short_desc IS NULL}), '', 'each says something of itself');
my @told = split /\n/, $node->safe_psql('postgres', q{SELECT name || ' ' || concat_ws(' ', short_desc, nullif(extra_desc, '')) FROM pg_settings WHERE name LIKE 'smartlead.%'});
is(join("\n", grep { my ($name, $words) = split / /, $_, 2; $said !~ /^\| `\Q$name\E` \|.*\| \Q$words\E \|$/m } @told), '', 'D2: settings.md says the same');

done_testing();
