# SmartleadTest: what the prove tests share: a server with the extension, a sandbox of the test's
# own, and requests to both.
#
#	use SmartleadTest;
#	my $node = smartlead_node('main');              # started, extension created, connection "sandbox"
#	sandbox_post('/_sandbox/reset');                # the sandbox's own routes
#	$node->safe_psql('postgres', 'SELECT ...');     # PostgreSQL::Test::Cluster, as ever
#
# The sandbox ends with the test, however that ends.
package SmartleadTest;

use strict;
use warnings;

use Cwd qw(abs_path);
use Exporter 'import';
use File::Basename qw(dirname);
use HTTP::Tiny;
use IO::Socket::INET;
use IPC::Run;
use JSON::PP;
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

our @EXPORT = qw(
  smartlead_node connect_sandbox
  start_sandbox stop_sandbox sandbox_url sandbox_get sandbox_post sandbox_request
  free_port http_request wait_until log_has try_sql superuser
);

my $sandbox_binary = $ENV{SMARTLEAD_SANDBOX}
  || dirname(dirname(abs_path(__FILE__))) . '/sandbox/sandbox';
my ($sandbox_pid, $sandbox_port);

# A started node. Options: preload (1 unless said otherwise), conf (lines for postgresql.conf),
# extension (create it and the connection; 1 unless said otherwise), sandbox (options of the
# sandbox, as a list), init (arguments of PostgreSQL::Test::Cluster's init, as a list), env (what
# the server finds in its environment, a hash).
sub smartlead_node
{
	my ($name, %option) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	$node->init(extra => [ '--encoding=UTF8', '--locale=C' ], @{ $option{init} || [] });
	$node->append_conf('postgresql.conf', "shared_preload_libraries = 'smartlead'")
	  if $option{preload} // 1;
	$node->append_conf('postgresql.conf', $option{conf}) if defined $option{conf};
	{
		my %env = %{ $option{env} || {} };
		local @ENV{ keys %env } = values %env;
		$node->start;
	}
	if ($option{extension} // 1)
	{
		start_sandbox(@{ $option{sandbox} || [] }) unless $sandbox_pid;
		$node->safe_psql('postgres', 'CREATE EXTENSION smartlead');
		connect_sandbox($node);
	}
	return $node;
}

# A server and a mapping of the current user to the sandbox. Options: name ("sandbox"), database
# ("postgres"), key, user (of the mapping, as SQL), options (of the server, a hash).
sub connect_sandbox
{
	my ($node, %option) = @_;
	my $name = $option{name} || 'sandbox';
	my $user = $option{user} || 'CURRENT_USER';
	my $key = $option{key} || 'sandbox-key-alpha';
	my %server = (
		base_url   => sandbox_url(),
		rate_limit => 'none',
		%{ $option{options} || {} });
	my $options = join ', ', map { "$_ '$server{$_}'" } sort keys %server;
	$node->safe_psql(
		$option{database} || 'postgres', qq{
		CREATE SERVER $name FOREIGN DATA WRAPPER smartlead OPTIONS ($options);
		CREATE USER MAPPING FOR $user SERVER $name OPTIONS (api_key '$key');});
	return;
}

# Starts the sandbox with the given options (--big 200000, ...), or anew with others. A port is
# kept over a restart when it is given: start_sandbox('--port', $port).
sub start_sandbox
{
	my @options = @_;
	stop_sandbox();
	my $port_file = $PostgreSQL::Test::Utils::tmp_check . "/sandbox.$$.port";
	my $log_file = $PostgreSQL::Test::Utils::log_path . "/sandbox.$$.log";
	unlink $port_file;
	my $test_pid = $$;
	$sandbox_pid = fork() // die "fork: $!";
	if ($sandbox_pid == 0)
	{
		open STDIN, '<', '/dev/null';
		open STDOUT, '>>', $log_file;
		open STDERR, '>&', \*STDOUT;
		unshift @options, '--port', 0 unless grep { $_ eq '--port' } @options;
		# Test::More's END blocks are not for this process, so never die here.
		exec { $sandbox_binary } $sandbox_binary, @options, '--port-file', $port_file
		  or POSIX::_exit(127);
	}
	wait_until(
		sub { -s $port_file || waitpid($sandbox_pid, POSIX::WNOHANG()) != 0 },
		'the sandbox listens')
	  or BAIL_OUT('the sandbox did not start');
	-s $port_file or BAIL_OUT("the sandbox ($sandbox_binary) ended at once, see $log_file");
	($sandbox_port) = slurp_file($port_file) =~ /(\d+)/;
	return sandbox_url();
}

sub stop_sandbox
{
	return unless $sandbox_pid;
	kill 'TERM', $sandbox_pid;
	waitpid $sandbox_pid, 0;
	undef $sandbox_pid;
	return;
}

END
{
	my $status = $?; # the test's own, which waitpid would overwrite
	stop_sandbox();
	$? = $status;
}

# The address of the sandbox's API, for base_url.
sub sandbox_url
{
	return "http://127.0.0.1:$sandbox_port/api/v1";
}

# The answers of sandbox_get and sandbox_post are decoded JSON; they die unless the status is 2xx.
sub sandbox_get
{
	my ($path) = @_;
	return sandbox_request('GET', $path);
}

sub sandbox_post
{
	my ($path, $data) = @_;
	return sandbox_request('POST', $path, $data);
}

sub sandbox_request
{
	my ($method, $path, $data) = @_;
	my $answer = http_request($method, "http://127.0.0.1:$sandbox_port$path", $data);
	die "$method $path: $answer->{status} $answer->{reason} $answer->{content}\n"
	  unless $answer->{success};
	return $answer->{content} eq '' ? undef : JSON::PP->new->allow_nonref->decode($answer->{content});
}

# One HTTP request: HTTP::Tiny's answer. Data is sent as JSON, or as it is when it is a text.
sub http_request
{
	my ($method, $url, $data, $headers) = @_;
	my %options = (headers => { 'Content-Type' => 'application/json', %{ $headers || {} } });
	$options{content} = ref $data ? JSON::PP->new->utf8->canonical->encode($data) : $data
	  if defined $data;
	return HTTP::Tiny->new(agent => 'smartlead-test', timeout => 60)
	  ->request($method, $url, \%options);
}

# A port of the loopback that nothing listens on at this moment.
sub free_port
{
	my $socket = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1')
	  or die "no free port: $!";
	return $socket->sockport;
}

# Calls the code until it answers true, at most the test suite's default timeout or the seconds
# given. Says what was waited for when it gives up, and returns false.
sub wait_until
{
	my ($code, $what, $seconds) = @_;
	my $end = time + ($seconds || $PostgreSQL::Test::Utils::timeout_default);
	until ($code->())
	{
		if (time > $end)
		{
			diag "waited in vain: $what";
			return 0;
		}
		sleep 0.02;
	}
	return 1;
}

# The role that initdb made, whatever it is called.
sub superuser
{
	my ($node) = @_;
	return $node->safe_psql('postgres', 'SELECT rolname FROM pg_roles WHERE oid = 10');
}

# What a statement answers, or undef when it fails or the server is away: for tests that crash it. Nothing is
# written to psql, which may have ended by then.
sub try_sql
{
	my ($node, $sql) = @_;
	my ($out, $err) = ('', '');
	my $ok = eval {
		IPC::Run::run([ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres'), '-c', $sql ],
			'<', '/dev/null', '>', \$out, '2>', \$err);
	};
	chomp $out;
	return $ok ? $out : undef;
}

# Whether the node's log has the pattern, from the offset (as of -s $node->logfile) on.
sub log_has
{
	my ($node, $pattern, $offset) = @_;
	return substr(slurp_file($node->logfile), $offset || 0) =~ $pattern ? 1 : 0;
}

1;
