# WebhookTest: what the tests of the receiver share.
#
#	use WebhookTest;
#	my ($node, $port) = webhook_node('main');      # started, extension there, a receiver listening
#	my $url = webhook_url($node, user => 'app');   # a webhook of that role
#	is(send_event($url, { event_type => 'EMAIL_SENT', ... }), 200);
package WebhookTest;

use strict;
use warnings;

use Exporter 'import';
use HTTP::Tiny;
use IO::Socket::INET;
use JSON::PP;
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use SmartleadTest;

our @EXPORT = qw(
  webhook_node make_connection ids_by_hand webhook_url receiver_listens receiver_pid
  send_event send_body send_beside status_of send_at_once raw_http event_counts stat_of
  has_partman partition_daily partman_block
);

# A started node whose database "postgres" has the extension, a role "app" that may subscribe, the
# connection "hooks", and a receiver on a port of its own. Options: those of smartlead_node, and
# settings (lines for postgresql.conf).
sub webhook_node
{
	my ($name, %option) = @_;
	my $port = $option{port} || free_port();
	my $settings = $option{settings} || '';
	my $node = smartlead_node(
		$name, %option,
		extension => 0,
		conf => "max_worker_processes = 16\nsmartlead.databases = 'postgres'\n"
		  . "smartlead.port = $port\n$settings");
	$node->safe_psql('postgres', 'CREATE EXTENSION smartlead; SELECT smartlead_create_events()');
	$node->safe_psql('postgres', 'CREATE ROLE app LOGIN; GRANT smartlead_admin TO app;');
	make_connection($node, 'postgres');
	return ($node, $port) if ($option{preload} // 1) == 0;
	receiver_listens($port) or BAIL_OUT('the receiver does not listen');
	return ($node, $port);
}

# Nothing is ever asked of it, so it leads nowhere.
sub make_connection
{
	my ($node, $database) = @_;
	$node->safe_psql(
		$database, q{
		CREATE SERVER hooks FOREIGN DATA WRAPPER smartlead OPTIONS (base_url 'http://127.0.0.1:9/api/v1');
		CREATE USER MAPPING FOR PUBLIC SERVER hooks OPTIONS (api_key 'unused');
		GRANT USAGE ON FOREIGN SERVER hooks TO smartlead_admin;});
	return;
}

# Rows that a test inserts by hand get ids below zero; the receiver's come from its own sequence.
sub ids_by_hand
{
	my ($node) = @_;
	$node->safe_psql('postgres',
		'ALTER TABLE smartlead_events ALTER id ADD GENERATED ALWAYS AS IDENTITY (MINVALUE -1000000000 START -1000000000)');
	return;
}

# The URL of a new webhook. Options: user ("app"), database ("postgres").
sub webhook_url
{
	my ($node, %option) = @_;
	my $user = $option{user} || 'app';
	return $node->safe_psql($option{database} || 'postgres',
		"SET ROLE $user; SELECT smartlead_webhook_url('hooks')");
}

# Waits until a receiver answers on the port.
sub receiver_listens
{
	my ($port, $seconds) = @_;
	return wait_until(
		sub {
			HTTP::Tiny->new(timeout => 2)->get("http://127.0.0.1:$port/healthz")->{status} == 200;
		},
		"a receiver on port $port",
		$seconds);
}

sub receiver_pid
{
	my ($node, $database) = @_;
	return $node->safe_psql($database || 'postgres',
		q{SELECT pid FROM smartlead_workers WHERE worker = 'receiver' AND number = 0 AND state = 'running'});
}

# The status of the answer; 599 when there was none.
sub send_event
{
	my ($url, $event, $headers) = @_;
	return send_body($url, JSON::PP->new->utf8->canonical->encode($event), $headers);
}

sub send_body
{
	my ($url, $body, $headers) = @_;
	my %headers = ('Content-Type' => 'application/json', %{ $headers || {} });
	delete $headers{'Content-Type'} unless defined $headers{'Content-Type'};
	return HTTP::Tiny->new(timeout => 60)
	  ->request('POST', $url, { headers => \%headers, content => $body })->{status};
}

# Sends an event from another process; status_of() what is returned waits for the answer's.
sub send_beside
{
	my ($url, $event) = @_;
	open my $pipe, '-|' or do
	{
		print send_event($url, $event);
		close STDOUT;
		POSIX::_exit(0);
	};
	return $pipe;
}

sub status_of
{
	my ($pipe) = @_;
	my $status = <$pipe>;
	close $pipe;
	return $status;
}

# Sends several at once, so that they meet in batches; the statuses, with blanks between.
sub send_at_once
{
	my ($url, @events) = @_;
	my @pipes = map { send_beside($url, $_) } @events;
	return join ' ', map { status_of($_) } @pipes;
}

# Sends bytes as they are and returns all that comes back until the other side closes or is silent
# for the seconds given.
sub raw_http
{
	my ($port, $bytes, $seconds) = @_;
	my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port) or return '';
	my $answer = '';
	local $SIG{PIPE} = 'IGNORE';
	print {$socket} $bytes;
	$socket->flush;
	my $vector = '';
	vec($vector, fileno $socket, 1) = 1;
	while (select(my $ready = $vector, undef, undef, $seconds || 2))
	{
		my $n = sysread $socket, my $part, 65536;
		last unless $n;
		$answer .= $part;
	}
	return $answer;
}

# "stored/failed", as the tables have them.
sub event_counts
{
	my ($node) = @_;
	return $node->safe_psql('postgres',
		q{SELECT (SELECT count(*) FROM smartlead_events) || '/' || (SELECT count(*) FROM smartlead_failed_events)}
	);
}

# Is pg_partman there? scripts/deps.sh gets it where it can be had.
sub has_partman
{
	my ($node) = @_;
	return $node->safe_psql('postgres', q{SELECT count(*) FROM pg_available_extensions WHERE name = 'pg_partman'});
}

# Partitions by day, as docs/scale.md has them.
sub partition_daily
{
	my ($node) = @_;
	$node->safe_psql('postgres', partman_block($node, q{
		CREATE SCHEMA IF NOT EXISTS partman;
		CREATE EXTENSION IF NOT EXISTS pg_partman SCHEMA partman;
		SELECT partman.create_parent('public.smartlead_events', 'received_at', p_interval => '1 day');}));
	return;
}

# What was written for pg_partman 5, for the one that is there: up to 4 it must be told that partitions are PostgreSQL's own.
sub partman_block
{
	my ($node, $sql) = @_;
	my $version = $node->safe_psql('postgres',
		q{SELECT split_part(default_version, '.', 1) FROM pg_available_extensions WHERE name = 'pg_partman'});
	$sql =~ s/(create_parent\([^)]*)\)/$1, p_type => 'native')/ if $version < 5;
	return $sql;
}

sub stat_of
{
	my ($node, $column) = @_;
	return $node->safe_psql('postgres', "SELECT sum($column) FROM smartlead_stat_receiver");
}

1;
