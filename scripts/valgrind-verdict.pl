#!/usr/bin/perl
# valgrind-verdict.pl PASSED REPORT.xml...: prints memcheck's errors that have a frame of ours and
# one line of verdict. Fails when there are any, or when nothing was run.
use strict;
use warnings;

my $ran = shift;
my (%seen, $processes, $foreign);

sub text
{
	my ($xml) = @_;
	$xml =~ s/&lt;/</g;
	$xml =~ s/&gt;/>/g;
	$xml =~ s/&amp;/&/g;
	return $xml;
}

# "file.c:12 function" of each frame of one <stack>.
sub frames
{
	my ($stack) = @_;
	my @frames;
	while ($stack =~ m{<frame>(.*?)</frame>}gs)
	{
		my $frame = $1;
		my ($function) = $frame =~ m{<fn>(.*?)</fn>};
		my ($file) = $frame =~ m{<file>(.*?)</file>};
		my ($line) = $frame =~ m{<line>(.*?)</line>};
		my ($object) = $frame =~ m{<obj>(.*?)</obj>};
		my $place = defined $file ? "$file:$line" : $object // '?';
		push @frames, text(($function // '?') . " ($place)");
	}
	return @frames;
}

for my $report (@ARGV)
{
	open my $in, '<', $report or die "$report: $!\n";
	local $/;
	my $xml = <$in>;
	close $in;
	$processes++;
	while ($xml =~ m{<error>(.*?)</error>}gs)
	{
		my $error = $1;
		if ($error !~ m{/smartlead\.so</obj>})
		{
			$foreign++;
			next;
		}
		my ($kind) = $error =~ m{<kind>(.*?)</kind>};
		my ($what) = $error =~ m{<(?:what|text)>(.*?)</};
		my ($first) = $error =~ m{<stack>(.*?)</stack>}s;
		my $told = join "\n", text("$kind: $what"), map { "    $_" } frames($first // '');
		$told =~ s/^(\S+: )[\d,]+( \([^)]*\))? bytes in [\d,]+ blocks/$1bytes/;
		$told =~ s/ in loss record.*//m;
		$seen{$told}++;
	}
}

print "$_ (in $seen{$_} places)\n\n" for sort keys %seen;
my $count = keys %seen;
printf "valgrind: %d processes, %d errors of ours, %d reports without a frame of ours left out\n",
  $processes // 0, $count, $foreign // 0;
exit($count || !$ran || !$processes ? 1 : 0);
