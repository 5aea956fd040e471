# SmartleadShim: a resolver, a libcurl and a clock that misbehave in a test's server, by a library
# that is built on the spot and preloaded (test/shim/shim.c tells what it can do).
#
#	my $shim = shim_env() or plan skip_all => 'no library can be built or preloaded here';
#	my $node = smartlead_node('main', env => $shim);
#	shim_on('no-timeouts');             # with a text: what the file shall hold
#	shim_off('no-timeouts');
#	is(shim_is_on('lookup-begun'), 1);
package SmartleadShim;

use strict;
use warnings;

use Config;
use Cwd qw(abs_path);
use Exporter 'import';
use File::Basename qw(dirname);
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(shim_env shim_on shim_off shim_is_on);

my $directory;

# The environment for a server with the shim, as a reference to a hash; undef where it can't be.
sub shim_env
{
	my $source = dirname(dirname(abs_path(__FILE__))) . '/shim/shim.c';
	$directory = PostgreSQL::Test::Utils::tempdir();
	my $library = "$directory/shim.so";
	my @compile = (
		split(' ', $ENV{CC} || 'cc'),
		qw(-O1 -Wall -shared -fPIC -o), $library, $source, '-ldl');
	my $said = `@compile 2>&1`;
	if ($? != 0 || $Config{ptrsize} != $Config{longsize})
	{
		note "no shim: $said";
		return;
	}
	# A program that finds it can't preload it says so.
	$said = `LD_PRELOAD=$library $^X -e 1 2>&1`;
	if ($said ne '')
	{
		note "no shim: $said";
		return;
	}
	return { LD_PRELOAD => $library, SMARTLEAD_SHIM => $directory };
}

# By a rename, so that nobody meets it half written.
sub shim_on
{
	my ($name, $text) = @_;
	append_to_file("$directory/new", $text // '');
	rename "$directory/new", "$directory/$name" or die "rename: $!";
	return;
}

sub shim_off
{
	my ($name) = @_;
	unlink "$directory/$name";
	return;
}

sub shim_is_on
{
	my ($name) = @_;
	return -e "$directory/$name" ? 1 : 0;
}

1;
