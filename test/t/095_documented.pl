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


# The arguments that the documents name are there, and so are the defaults of settings.
my %arguments;
for (split /\n/, $node->safe_psql('postgres', q{SELECT concat_ws(' ', p.proname, array_to_string(p.proargnames[:p.pronargs], ' ')) FROM pg_proc p WHERE p.proname LIKE 'smartlead\_%'}))
{
	my ($function, @names) = split / /;
	$arguments{$function}{$_} = 1 for '', @names;
}
my @wrong;
(my $prose = $text) =~ s/^```.*?^```$|^    .*?$//msg; # in SQL, names are of columns
while ($prose =~ /\b(smartlead_\w+)\(([^()]*)\)(?! FROM)/g)
{
	my ($function, $list) = ($1, $2);
	if (!$arguments{$function}) { push @wrong, "$function()"; next }
	for my $argument (split /,\s*/, $list)
	{
		my ($name) = $argument =~ /^([a-z_]+)(?: [a-z]+(?:\[\])?(?: DEFAULT .*)?| =>.*|)$/ or next;
		push @wrong, "$function($name)" unless $arguments{$function}{$name};
	}
}
is(join(', ', @wrong), '', 'D2: functions have the arguments that the documents name');

my %default = map { split / /, $_, 2 } split /\n/, $node->safe_psql('postgres', q{SELECT name || ' ' || CASE current_setting(name) WHEN '' THEN 'empty' ELSE '`' || current_setting(name) || '`' END FROM pg_settings WHERE name LIKE 'smartlead.%'});
my @defaults;
for my $file (qw(settings operations))
{
	my $page = slurp_file("docs/$file.md");
	while ($page =~ /^\| (`smartlead\.[^|]*) \| ([^|]+) \|/mg)
	{
		my ($names, $value) = ($1, $2);
		$value = "`$value`" if $value !~ /^`|^empty$/;
		push @defaults, "$file.md: $_ $value" for grep { $default{$_} ne $value } $names =~ /`([^`]+)`/g;
	}
}
is(join("\n", @defaults), '', 'D2: settings have the defaults that the documents tell');

done_testing();
