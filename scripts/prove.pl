#!/usr/bin/perl
# prove.pl COUNTFILE [-I DIR]... FILE...: what prove does, and writes "PASSED FAILED" (tests, and files that died,
# hung or planned otherwise) to COUNTFILE.
#
# Each file has a bound in seconds (SMARTLEAD_FILE_BOUND), and so has the whole (SMARTLEAD_TESTS_BOUND). They are no
# measure of speed: they are there so that a hang ends and is told. Whatever a file has started ends with it, however
# that ends; its descendants are known by a variable of their environment,
# servers by their directory.
use strict;
use warnings;

use Getopt::Long;
use POSIX qw(:sys_wait_h setpgid);
use TAP::Harness;
use Time::HiRes qw(sleep time);

my ($mark, $mark_of_all) = ('SMARTLEAD_TEST_FILE', 'SMARTLEAD_TEST_RUN');

# ---- one file ----

# The processes that have the variable in their environment, but for this one.
sub descendants
{
	my ($name, $value) = @_;
	my @found;
	for my $environ (glob '/proc/[0-9]*/environ')
	{
		my ($pid) = $environ =~ m{(\d+)};
		next if $pid == $$;
		open my $in, '<', $environ or next;
		local $/;
		my $text = <$in>;
		push @found, $pid if defined $text && "\0$text" =~ /\0\Q$name=$value\E\0/;
	}
	return @found;
}

sub command_of
{
	my ($pid) = @_;
	open my $in, '<', "/proc/$pid/cmdline" or return '';
	local $/;
	return (<$in> // '') =~ tr/\0/ /r;
}

# The servers of that file that run: these show another environment than they were started with.
sub servers
{
	my ($file) = @_;
	my ($name) = $file =~ m{([^/]+)\.pl$} or return;
	my @pids;
	for my $pid_file (glob "$ENV{TESTDATADIR}/t_${name}_*_data/pgdata/postmaster.pid")
	{
		open my $in, '<', $pid_file or next;
		my ($pid) = (<$in> // '') =~ /^(\d+)$/ or next;
		push @pids, $pid if command_of($pid) =~ m{/postgres -D \Q$ENV{TESTDATADIR}\E/};
	}
	return @pids;
}

# A server that is asked to quit takes its processes along; all else is killed.
sub end_descendants
{
	my ($value, $file) = @_;
	my $kill_all_at = time + 20;
	for (;;)
	{
		my ($late, @servers) = (time > $kill_all_at, servers($file));
		my @others = descendants($mark, $value);
		last if !@servers && !@others || time > $kill_all_at + 10;
		kill $late ? 'KILL' : 'QUIT', @servers;
		kill 'KILL', @others;
		sleep 0.1;
	}
	return;
}

# Runs the command; its exit status is ours.
sub run_one
{
	my ($bound, @command) = @_;
	my $value = $ENV{$mark} = "$$." . int(time * 1000);
	my $pid = fork // die "fork: $!\n";
	if ($pid == 0)
	{
		setpgid(0, 0); # what the terminal says is for us; we tell the rest
		exec @command or POSIX::_exit(127);
	}
	my $stop;
	$SIG{$_} = sub { $stop = "ended by SIG$_[0]" } for qw(INT TERM HUP);
	my $end = time + $bound;
	my $status = 0;
	until (waitpid($pid, WNOHANG) == $pid)
	{
		$stop ||= "has not ended within $bound s and is ended" if time > $end;
		last if $stop;
		sleep 0.05;
	}
	$status = $?;
	if ($stop)
	{
		print STDERR "$command[-1] $stop; what ran then:\n",
		  map { "  $_ " . command_of($_) . "\n" } descendants($mark, $value), servers($command[-1]);
		kill 'KILL', $pid;
		waitpid $pid, 0;
		$status = 255 << 8;
	}
	end_descendants($value, $command[-1]);
	exit($status & 127 ? 128 + ($status & 127) : $status >> 8);
}

if (@ARGV && $ARGV[0] eq '--one')
{
	shift;
	run_one(@ARGV);
}

# ---- all files ----

my @include;
GetOptions('I=s' => \@include) or die "usage: prove.pl COUNTFILE [-I DIR]... FILE...\n";
my $count_file = shift;

my $file_bound = $ENV{SMARTLEAD_FILE_BOUND} || 900;
my $end = time + ($ENV{SMARTLEAD_TESTS_BOUND} || 7200);
my $interrupted;

sub command_for
{
	my ($harness, $file) = @_;
	return [ $^X, '-e', 'print "Bail out!  interrupted\n"' ] if $interrupted;
	my $left = int($end - time);
	my $bound = $left < $file_bound ? ($left > 1 ? $left : 1) : $file_bound;
	return [ $^X, $0, '--one', $bound, $^X, (map { "-I$_" } @include), $file ];
}

my $harness = TAP::Harness->new(
	{
		exec      => \&command_for,
		timer     => 1,
		failures  => 1,
		verbosity => $ENV{TEST_VERBOSE} ? 1 : 0,
		jobs      => $ENV{PROVE_JOBS} || 2,
	});

# Whoever runs a file is told, and ends what that has started.
my $run = $ENV{$mark_of_all} = "$$." . int(time * 1000);
$SIG{$_} = sub
{
	$interrupted = 1;
	kill 'TERM', grep { command_of($_) =~ / --one / } descendants($mark_of_all, $run);
} for qw(INT TERM HUP);
my $aggregate = $harness->runtests(@ARGV);

# A file that ends badly without a failed test counts as one failure.
my $failed = $interrupted ? 1 : 0;
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
