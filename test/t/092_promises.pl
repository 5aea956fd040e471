# What the documents promise has a test that is there, and what they refer to is there. Needs no server.
use strict;
use warnings;

use File::Basename qw(basename dirname);
use PostgreSQL::Test::Utils;
use Test::More;

# ---- promises ----

# The files that a row's last cell names, each with the ids that it must contain: `t/061_listing_whole` C1, C2.
sub tests_of
{
	my ($cell) = @_;
	my @tests;
	while ($cell =~ m{(?:\b(t|sql)/)?\b(\d\d\d?_\w+)|\b(scripts/[\w.-]+)|\b([A-Z]\d+)\b}g)
	{
		my ($kind, $name, $script, $id) = ($1, $2, $3, $4);
		if (defined $id)
		{
			push @{ $tests[-1]{ids} }, $id if @tests;
			next;
		}
		$kind //= -f "test/sql/$name.sql" ? 'sql' : 't' unless defined $script;
		push @tests, { file => $script // "test/$kind/$name." . ($kind eq 't' ? 'pl' : 'sql'), ids => [] };
	}
	return @tests;
}

my $promises = slurp_file('docs/promises.md');
my $rows = 0;
my @faults;
for my $line (grep { /^\|/ && !/^\|[-|]+$/ && !/^\| promise \|/ } split /\n/, $promises)
{
	my ($promise, $cell) = $line =~ /^\| (.*) \| (.*?) \|$/ or do { push @faults, "no row: $line"; next };
	my @tests = tests_of($cell);
	$rows++;
	push @faults, "no test: $line" unless @tests;
	for my $test (@tests)
	{
		if (!-f $test->{file}) { push @faults, "no file $test->{file}: $line"; next }
		my $text = slurp_file($test->{file});
		push @faults, "$test->{file} has nothing of $_: $line" for grep { $text !~ /\b$_\b/ } @{ $test->{ids} };
	}
}
cmp_ok($rows, '>', 50, "$rows promises");
is(join("\n", @faults), '', 'D4: each names a test that is there, and what is in it');

# ---- links ----

# As GitHub makes a heading's anchor.
sub anchors_of
{
	my ($file) = @_;
	my (%seen, %anchors);
	my $text = slurp_file($file) =~ s/^```.*?^```$//msgr;
	while ($text =~ /^#+ +(.*?) *$/mg)
	{
		my $anchor = lc($1) =~ s/\[([^\]]*)\]\([^)]*\)/$1/gr;
		$anchor =~ s/[^\w\- ]//g;
		$anchor =~ tr/ /-/;
		my $n = $seen{$anchor}++;
		$anchors{ $n ? "$anchor-$n" : $anchor } = 1;
	}
	return \%anchors;
}

my @documents = (glob('*.md docs/*.md'), 'test/README.md', 'test/sandbox/README.md');
my $links = 0;
my (@broken, %linked);
for my $document (@documents)
{
	my $text = slurp_file($document) =~ s/^```.*?^```$//msgr;
	$text =~ s/`[^`\n]*`//g;
	while ($text =~ /\]\(([^)\s]+)\)/g)
	{
		my ($path, $anchor) = $1 =~ /^([^#]*)#?(.*)$/;
		next if $path =~ /^\w+:/;
		$links++;
		my $file = $path eq '' ? $document : dirname($document) . "/$path";
		$file =~ s{^\./}{};
		1 while $file =~ s{[^/]+/\.\./}{};
		if (!-e $file) { push @broken, "$document: $path"; next }
		$linked{$file} = 1 if $document eq 'README.md';
		push @broken, "$document: $path#$anchor" if $anchor ne '' && !anchors_of($file)->{$anchor};
	}
}
cmp_ok($links, '>', 20, "$links links");
is(join("\n", @broken), '', 'D4: every link leads to a document and a heading that are there');
is(join(' ', grep { !$linked{$_} } glob('docs/*.md')), '', 'D4: README leads to every document');

# ---- messages ----

# The texts by which one looks up one's trouble are those of the code, part by part, but for PostgreSQL's own.
my $code = join '', map { slurp_file($_) } glob('src/*.c src/*/*.c');
$code =~ s/"\s*\n\s*"//g;
$code =~ s/\\"/"/g;
my @missing;
for my $cell (slurp_file('docs/troubleshooting.md') =~ /^\| (.*?) \|/mg)
{
	for my $text (grep { / / && !/^(?:permission denied|function smartlead_enqueue|unrecognized)/ } $cell =~ /`([^`]*)`/g)
	{
		next if $text =~ m{^GET /};
		push @missing, $text if grep { index($code, $_) < 0 } grep { /\w/ } split /…|; |: /, $text;
	}
}
is(join("\n", @missing), '', 'D4: the messages of troubleshooting.md are those of the code');

done_testing();
