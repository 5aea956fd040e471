# The examples of the documents are true: each block of SQL, in order, gives the block of output that
# follows it. DOCS_WRITE=1 writes the outputs into the documents instead; read them then.
use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use SmartleadTest;

my $top = dirname(dirname(dirname(abs_path(__FILE__))));
my $node = smartlead_node('main');

# What psql prints for the SQL, errors included, as a reader would see it.
sub output_of
{
	my ($sql) = @_;
	local $ENV{PGTZ} = 'UTC';
	local $ENV{PGOPTIONS} = '-c datestyle=ISO';
	local $ENV{PGCLIENTENCODING} = 'UTF8';
	my $output = '';
	IPC::Run::run [ 'psql', '-X', '-q', '-d', $node->connstr('postgres') ], '<', \$sql, '>&', \$output;
	$output =~ s/[ \t]+$//mg;
	$output =~ s/\n\n+\z/\n/;
	return $output;
}

foreach my $file (map { "$top/docs/$_.md" } 'functions')
{
	my $text = slurp_file($file);
	my $n = 0;
	(my $name = $file) =~ s{.*/}{};
	sandbox_post('/_sandbox/reset');
	$text =~ s{(```sql\n(.*?)```\n\n```\n)(.*?)(```)}{
		my ($before, $sql, $expected, $after) = ($1, $2, $3, $4);
		my $output = output_of($sql);
		is($output, $expected, "$name, example " . ++$n) unless $ENV{DOCS_WRITE};
		"$before$output$after"}gse;
	ok($ENV{DOCS_WRITE} || $n > 0, "$name has examples");
	next unless $ENV{DOCS_WRITE};
	open my $out, '>', $ENV{DOCS_WRITE} . "/$name" or die "$name: $!";
	print $out $text;
	close $out;
}

done_testing();
