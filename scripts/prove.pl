#!/usr/bin/perl
# prove.pl COUNTFILE [-I DIR]... FILE...: what prove does, and writes "PASSED FAILED" (tests, and
# files that died or planned otherwise) to COUNTFILE.
use strict;
use warnings;

use Getopt::Long;
use TAP::Harness;

my @include;
GetOptions('I=s' => \@include) or die "usage: prove.pl COUNTFILE [-I DIR]... FILE...\n";
my $count_file = shift;

my $harness = TAP::Harness->new(
	{
		lib       => \@include,
		timer     => 1,
		failures  => 1,
		verbosity => $ENV{TEST_VERBOSE} ? 1 : 0,
		jobs      => $ENV{PROVE_JOBS} || 1,
	});
my $aggregate = $harness->runtests(@ARGV);

# A file that ends badly without a failed test counts as one failure.
my $failed = 0;
for my $parser ($aggregate->parsers)
{
	my $here = $parser->failed;
	$here ||= 1 if $parser->exit || $parser->wait || $parser->parse_errors;
	$failed += $here;
}
open my $out, '>', $count_file or die "$count_file: $!\n";
print $out scalar($aggregate->passed), " $failed\n";
close $out or die "$count_file: $!\n";
exit($failed ? 1 : 0);
