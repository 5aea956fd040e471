# The life of launcher and receivers: databases and extensions come and go, settings change, the
# server restarts, a standby is promoted.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

use SmartleadTest;
use WebhookTest;

my ($node, $port) = webhook_node('workers', settings => "smartlead.databases = 'postgres, later'", init => [ allows_streaming => 1 ]);
my $url = webhook_url($node);
my $number = 0;

sub event
{
	$number++;
	return { event_type => 'EMAIL_OPEN', stats_id => "s$number", lead_email => 'ada@clinic.example',
		event_timestamp => '2026-03-03T09:00:00Z' };
}

sub refuses
{
	my ($at) = @_;
	return !IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $at);
}

sub works
{
	my ($what) = @_;
	ok(wait_until(sub { send_event($url, event()) == 200 }, $what), $what);
	return;
}

# What hangs is ended by the test's own bound.
sub comes_back
{
	my ($what, $code) = @_;
	my $start = time;
	$code->();
	pass("$what: no hang");
	note sprintf '%s: %.2f s', $what, time - $start;
	return;
}

is($node->safe_psql('postgres', q{SELECT string_agg(worker || ' ' || state, ', ' ORDER BY worker) FROM smartlead_workers}),
	'dispatcher running, housekeeper running, launcher running, receiver running', 'launcher, receiver, dispatcher and housekeeper run');
works('an event');

# The extension goes and comes
comes_back('DROP EXTENSION', sub { $node->safe_psql('postgres', 'DROP EXTENSION smartlead CASCADE') });
ok(wait_until(sub { refuses($port) }, 'end of the receiver'), 'the receiver ends');
ok($node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type LIKE 'smartlead%' AND datname = 'postgres'}),
	'and the sessions of the workers');
$node->safe_psql('postgres', 'CREATE EXTENSION smartlead');
ok(receiver_listens($port), 'it is back when the extension is');
is(send_event($url, event()), 404, 'the old token is not');
make_connection($node, 'postgres');
$url = webhook_url($node);
works('a new one is');
$node->safe_psql('postgres', 'BEGIN; DROP EXTENSION smartlead CASCADE; ROLLBACK;');
works('a DROP EXTENSION that is rolled back changes nothing');
$node->safe_psql('postgres', 'DROP EXTENSION smartlead CASCADE; CREATE SCHEMA elsewhere; CREATE EXTENSION smartlead SCHEMA elsewhere');
ok(receiver_listens($port), 'the extension in another schema');
make_connection($node, 'postgres');
$url = $node->safe_psql('postgres', q{GRANT USAGE ON SCHEMA elsewhere TO app; SET ROLE app; SELECT elsewhere.smartlead_webhook_url('hooks')});
works('its receiver finds its tables');
is($node->safe_psql('postgres', 'SELECT count(*) > 0 FROM elsewhere.smartlead_events'), 't', 'and fills them');
$node->safe_psql('postgres', 'DROP EXTENSION smartlead CASCADE; CREATE EXTENSION smartlead');
make_connection($node, 'postgres');
ok(receiver_listens($port), 'back again');
$url = webhook_url($node);

# Databases: others come and go freely, ours too
comes_back('CREATE DATABASE of another', sub { $node->safe_psql('postgres', 'CREATE DATABASE other') });
comes_back('DROP DATABASE of another', sub { $node->safe_psql('postgres', 'DROP DATABASE other') });
my $later_port = free_port();
$node->safe_psql('postgres', qq{CREATE DATABASE later; ALTER DATABASE later SET smartlead.port = $later_port;});
$node->safe_psql('later', 'CREATE EXTENSION smartlead');
ok(receiver_listens($later_port, 20), 'a listed database gets its receiver when it is created');
is($node->safe_psql('later', q{SELECT port FROM smartlead_workers WHERE worker = 'receiver'}), $later_port, 'on its own port');
make_connection($node, 'later');
my $later_url = webhook_url($node, database => 'later');
is(send_event($later_url, event()), 200, 'it stores events');
is($node->safe_psql('later', 'SELECT count(*) FROM smartlead_events'), 1, 'in its database');
comes_back('DROP DATABASE of a served one', sub { $node->safe_psql('postgres', 'DROP DATABASE later') });
ok(wait_until(sub { refuses($later_port) }, 'end of the receiver'), 'its receiver ends');
$node->safe_psql('postgres', qq{CREATE DATABASE later; ALTER DATABASE later SET smartlead.port = $later_port;});
$node->safe_psql('later', 'CREATE EXTENSION smartlead');
ok(receiver_listens($later_port, 70), 'and is there again for a new one');
comes_back('DROP DATABASE WITH (FORCE)', sub { $node->safe_psql('postgres', 'DROP DATABASE later WITH (FORCE)') });
works('the other database was not touched');

# Two databases on one port
$node->safe_psql('postgres', 'CREATE DATABASE later');
$node->safe_psql('later', 'CREATE EXTENSION smartlead');
ok( $node->poll_query_until('later', q{SELECT trouble LIKE '%another database%' AND state = 'waiting' FROM smartlead_workers WHERE worker = 'receiver'}),
	'the second database on a port is told so');
works('the first one keeps it');
$node->safe_psql('postgres', 'DROP DATABASE later');

# Settings
my $moved = free_port();
$node->safe_psql('postgres', "ALTER SYSTEM SET smartlead.port = $moved");
$node->reload;
ok(receiver_listens($moved, 10), 'a new port after a reload');
ok(wait_until(sub { refuses($port) }, 'end of the old port'), 'not the old one');
my $taken = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1');
$node->safe_psql('postgres', 'ALTER SYSTEM SET smartlead.port = ' . $taken->sockport);
$node->reload;
ok( $node->poll_query_until('postgres', q{SELECT trouble LIKE '%Address already in use%' FROM smartlead_workers WHERE worker = 'receiver'}),
	'a port that is taken: trouble is told');
ok(receiver_listens($moved, 1), 'and the receiver stays where it was');
my $taken_port = $taken->sockport;
close $taken;
ok(receiver_listens($taken_port), 'until the port is free');
$node->safe_psql('postgres', q{ALTER SYSTEM RESET smartlead.port; ALTER SYSTEM SET smartlead.listen_address = '*';});
$node->reload;
ok(receiver_listens($port), 'back on the first port, on all addresses');
is($node->safe_psql('postgres', q{SELECT address FROM smartlead_workers WHERE worker = 'receiver'}), '*', 'as told');
ok(IO::Socket::INET->new(PeerAddr => '127.0.0.2', PeerPort => $port), 'also this one');
$node->safe_psql('postgres', q{ALTER SYSTEM RESET smartlead.listen_address; ALTER SYSTEM SET smartlead.max_body_size = '1kB';});
$node->reload;
ok(wait_until(sub { send_body($url, '"' . 'x' x 2000 . '"') == 413 }, '413'), 'a new limit of bodies');
$node->safe_psql('postgres', 'ALTER SYSTEM RESET smartlead.max_body_size');
$node->safe_psql('postgres', 'ALTER SYSTEM SET smartlead.receivers = 3');
$node->reload;
ok( $node->poll_query_until('postgres', q{SELECT count(*) = 3 FROM smartlead_workers WHERE worker = 'receiver' AND state = 'running'}),
	'three receivers');
works('on one port');
$node->safe_psql('postgres', 'ALTER SYSTEM RESET smartlead.receivers');
$node->reload;
ok( $node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM smartlead_workers WHERE worker = 'receiver' AND state = 'running'}),
	'one again');
works('on the same port');
is($node->safe_psql('postgres', q{SELECT count(*) FROM smartlead_workers WHERE worker = 'receiver' AND state = 'stopped' AND trouble IS NULL}),
	2, 'and no trouble is told of those that have ended');
$node->safe_psql('postgres', q{ALTER SYSTEM SET smartlead.databases = ''});
$node->reload;
ok(wait_until(sub { refuses($port) }, 'end of the receiver'), 'none when no database is listed');
is($node->safe_psql('postgres', 'SELECT smartlead_start_workers()'), 't', 'started by hand');
ok(receiver_listens($port), 'one is there');
is($node->safe_psql('postgres', 'SELECT smartlead_start_workers()'), 'f', 'not twice');
is($node->safe_psql('postgres', 'SELECT smartlead_stop_workers()'), 't', 'and stopped');
ok(wait_until(sub { refuses($port) }, 'end of the receiver'), 'it ends');
$node->safe_psql('postgres', 'ALTER SYSTEM RESET smartlead.databases');
$node->reload;
ok(receiver_listens($port), 'and is back when the database is listed again');

# TLS
SKIP:
{
	my $key = $node->data_dir . '/hook.key';
	my $certificate = $node->data_dir . '/hook.crt';
	skip 'no openssl', 3
	  if system("openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout $key -out $certificate >/dev/null 2>&1") != 0;
	$node->safe_psql('postgres', q{ALTER SYSTEM SET smartlead.tls_certificate_file = 'hook.crt'; ALTER SYSTEM SET smartlead.tls_key_file = 'hook.key';});
	$node->reload;
	# What a request over TLS is answered; perl's own modules for that may be missing.
	my $over_tls = sub {
		my ($request) = @_;
		my ($in, $out, $err) = ($request, '', '');
		IPC::Run::run([ 'openssl', 's_client', '-quiet', '-connect', "127.0.0.1:$port" ], \$in, \$out, \$err);
		return $out;
	};
	ok(wait_until(sub { $over_tls->("GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n") =~ /200 OK/ }, 'TLS'),
		'TLS of its own');
	my ($path) = $url =~ m{^http://[^/]+(/.*)$};
	like( $over_tls->("POST $path HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: 18\r\n\r\n{\"event_type\":\"X\"}"),
		qr/200 OK/, 'takes an event');
	$node->safe_psql('postgres', q{ALTER SYSTEM RESET smartlead.tls_certificate_file; ALTER SYSTEM RESET smartlead.tls_key_file;});
	$node->reload;
	ok(receiver_listens($port), 'and plain HTTP again');
}

# Ends
my $pid = receiver_pid($node);
$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
ok(wait_until(sub { my $now = receiver_pid($node); $now ne '' && $now ne $pid }, 'another receiver'), 'a receiver that is ended is started again');
$pid = receiver_pid($node);
$node->safe_psql('postgres', "SELECT pg_cancel_backend($pid)");
works('a cancellation does no harm');
is(receiver_pid($node), $pid, 'to the receiver');
my $launcher = $node->safe_psql('postgres', q{SELECT pid FROM smartlead_workers WHERE worker = 'launcher'});
$node->safe_psql('postgres', "SELECT pg_terminate_backend($launcher)");
ok( $node->poll_query_until('postgres', qq{SELECT count(*) = 4 FROM smartlead_workers WHERE state = 'running' AND pid NOT IN ($launcher, $pid)}),
	'a launcher that is ended comes back, with new workers');
works('which work');
comes_back('restart', sub { $node->restart });
ok(receiver_listens($port), 'a receiver after a restart');
works('with the same token');

# Idle: no more than a wake-up each minute
$pid = receiver_pid($node);
$launcher = $node->safe_psql('postgres', q{SELECT pid FROM smartlead_workers WHERE worker = 'launcher'});
SKIP:
{
	skip 'no /proc', 3 unless -e "/proc/$pid/status";
	my $housekeeper = $node->safe_psql('postgres', q{SELECT pid FROM smartlead_workers WHERE worker = 'housekeeper'});
	my $switches = sub { return slurp_file("/proc/$_[0]/status") =~ /^voluntary_ctxt_switches:\s+(\d+)/m ? $1 : -1; };
	sleep 3;
	my ($receiver_before, $launcher_before, $housekeeper_before) = map { $switches->($_) } $pid, $launcher, $housekeeper;
	sleep 15;
	cmp_ok($switches->($pid) - $receiver_before, '<=', 2, 'the idle receiver sleeps');
	cmp_ok($switches->($launcher) - $launcher_before, '<=', 2, 'the idle launcher sleeps');
	cmp_ok($switches->($housekeeper) - $housekeeper_before, '<=', 6, 'the idle housekeeper sleeps, but for a look at the keys of events each minute');
}

# A standby waits for its promotion
$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
my $standby_port = free_port();
$standby->append_conf('postgresql.conf', "smartlead.port = $standby_port");
$standby->start;
works('the primary goes on');
$node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));
is($standby->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'smartlead%'}), 0, 'no worker on a standby');
ok(refuses($standby_port), 'nobody listens');
$standby->promote;
ok(receiver_listens($standby_port, 20), 'a receiver after the promotion');
(my $standby_url = $url) =~ s/:$port/:$standby_port/;
is(send_event($standby_url, event()), 200, 'with the token of the primary');
$standby->stop;
$node->stop;

# Without preload
my ($plain, $plain_port) = webhook_node('plain', preload => 0, settings => 'restart_after_crash = on');
ok(refuses($plain_port), 'without preload, nobody listens');
is($plain->safe_psql('postgres', 'SELECT smartlead_start_workers()'), 't', 'until somebody starts the workers');
ok(receiver_listens($plain_port), 'a receiver');
my $plain_url = webhook_url($plain);
is(send_event($plain_url, event()), 200, 'that stores events');
is($plain->safe_psql('postgres', 'SELECT stored FROM smartlead_stat_receiver'), 1, 'and counts them');
$plain->safe_psql('postgres', 'CREATE DATABASE other');
$plain->safe_psql('other', 'CREATE EXTENSION smartlead; SELECT smartlead_start_workers();');
ok( $plain->poll_query_until('other', q{SELECT trouble LIKE '%another database%' FROM smartlead_workers WHERE worker = 'receiver'}),
	'another database needs another port');
($_, my $out, my $err) = $plain->psql('postgres', 'DROP DATABASE other');
like($err, qr/being accessed|^$/, 'DROP DATABASE may be refused without preload');
$plain->safe_psql('postgres', 'DROP DATABASE IF EXISTS other WITH (FORCE)');
$plain->safe_psql('postgres', 'DROP DATABASE IF EXISTS other WITH (FORCE)');
kill 'KILL', receiver_pid($plain);
ok(wait_until(sub { $plain->psql('postgres', 'SELECT 1') == 0 && receiver_listens($plain_port, 1) }, 'recovery'),
	'the workers come back after a crash');
$plain->restart;
ok(refuses($plain_port), 'but not after a restart');
$plain->stop;
done_testing();
