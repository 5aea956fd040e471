# Version, names of files and documents are in step, and META.json is what PGXN takes. Needs no server.
use strict;
use warnings;

use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

my ($default) = slurp_file('smartlead.control') =~ /^default_version = '(.*)'$/m;
my ($described) = slurp_file('smartlead.control') =~ /^comment = '(.*)'$/m;
my ($released) = slurp_file('Makefile') =~ /^RELEASED +=[ ]?(.*)$/m;
my @released = split ' ', $released;
my $meta = JSON::PP->new->utf8->decode(slurp_file('META.json'));

# ---- META.json, by the PGXN Meta Spec 1.0.0 ----

my $version = qr/(?:0|[1-9]\d*)(?:\.(?:0|[1-9]\d*)){2}(?:-[0-9A-Za-z.-]+)?/;
my $term = qr{[^\s/\\[:cntrl:]]{2,}};
my $tag = qr{[^/\\[:cntrl:]]{1,255}};
my @keys = qw(abstract description generated_by license maintainer meta-spec name no_index prereqs provides release_status resources tags version);
my %known = map { $_ => 1 } @keys;

is(join(' ', grep { !$known{$_} && !/^[xX]_/ } sort keys %$meta), '', 'no key but those of the specification');
is(join(' ', grep { !defined $meta->{$_} } qw(abstract license maintainer meta-spec name provides version)), '', 'all that are required');
like($meta->{name}, qr/^$term$/, 'the name is a term');
like($meta->{version}, qr/^$version$/, 'a semantic version');
is(join(' ', grep { !/\S/ } $meta->{abstract}, ref $meta->{maintainer} ? @{ $meta->{maintainer} } : $meta->{maintainer}), '', 'abstract and maintainer say something');
is($meta->{license}, 'postgresql', 'the license by its short name');
like(slurp_file('README.md'), qr/^PostgreSQL License\.$/m, 'that of the README');
is($meta->{'meta-spec'}{version}, '1.0.0', 'the specification');
is(join(', ', grep { !/^$tag$/ } @{ $meta->{tags} }), '', 'tags are tags');
for my $phase (values %{ $meta->{prereqs} })
{
	is(join(', ', grep { !/^(?:[<>=!]=?\s*)?$version$/ } map { values %$_ } values %$phase), '', 'required versions are versions');
}
is(join(' ', keys %{ $meta->{provides} }), 'smartlead', 'it provides one extension');

# ---- in step ----

my $provided = $meta->{provides}{smartlead};
like($meta->{version}, qr/^\Q$default\E\.\d+$/, 'D5: META.json has the version of smartlead.control, and a third number');
is($provided->{version}, $meta->{version}, 'D5: twice');
is($provided->{file}, "sql/smartlead--$default.sql", 'D5: its script is that of the version');
ok(-f $provided->{file}, 'D5: and is there');
ok(-f $provided->{docfile}, 'D5: like the document that it names');
is($meta->{abstract}, $described, 'D5: it is described as in smartlead.control');
like(slurp_file('CHANGELOG.md'), qr/\A# Changelog\n\n## \Q$default\E \((?:unreleased|\d{4}-\d\d-\d\d)\)\n/, 'D5: CHANGELOG.md begins with the version');
my ($dated) = slurp_file('CHANGELOG.md') =~ /^## \Q$default\E \((.*)\)/m;
is(scalar(grep { $_ eq $default } @released), $dated eq 'unreleased' ? 0 : 1, 'D5: with a date as soon as it is released');
like(slurp_file($provided->{file}), qr{\A/\* smartlead \Q$default\E:}, 'D5: the script says which it is');
is(join(' ', grep { !-f "sql/smartlead--$_.sql" } @released), '', 'D5: released scripts are there');
is(join(' ', grep { slurp_file('CHANGELOG.md') !~ /^## \Q$_\E \(\d/m } @released), '', 'D5: with the day of their release');

done_testing();
