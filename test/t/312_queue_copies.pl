# Copies of a queue: what is dumped, cloned or replicated is not performed twice. The copy waits, says
# so, and goes on when it is told; a standby that is promoted goes on by itself.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use SmartleadTest;

my $node = smartlead_node('main', init => [ allows_streaming => 'logical' ],
	conf => "smartlead.databases = 'postgres, copy, clone, fresh'\nsmartlead.port = " . free_port() . "\nmax_worker_processes = 24");
my $dump = $PostgreSQL::Test::Utils::tmp_check . '/dump.sql';

sub query
{
	my ($sql, $database, $where) = @_;
	return ($where || $node)->safe_psql($database || 'postgres', $sql);
}

sub enqueue
{
	my ($name, $database, $where) = @_;
	return query("SELECT smartlead_enqueue('create_campaign', '{\"name\": \"$name\"}')", $database, $where);
}

# How often Smartlead was asked to make a campaign of that name.
sub times_created
{
	my ($name) = @_;
	return scalar grep { $_->{path} eq '/campaigns/create' && $_->{body} =~ /"\Q$name\E"/ } @{ sandbox_get('/_sandbox/log') };
}

# Until the dispatcher of that database says that it is in that state.
sub dispatcher_is
{
	my ($state, $database, $where) = @_;
	return wait_until(
		sub { query("SELECT count(*) FROM smartlead_workers WHERE worker = 'dispatcher' AND state = '$state'", $database, $where) eq '1' },
		"the dispatcher of $database is $state", 90);
}

# The server's way to say so, and no job performed, however often the dispatcher looks.
sub waits
{
	my ($database, $where) = @_;
	ok(dispatcher_is('waiting', $database, $where), "Q1: the copy waits ($database)");
	like(query(q{SELECT trouble FROM smartlead_workers WHERE worker = 'dispatcher'}, $database, $where),
		qr/copied from .*smartlead_adopt_queue\(\)/, 'Q1: and says why, and what to do');
	is(query(q{SELECT state FROM smartlead_wait(} . enqueue("new in $database", $database, $where) . q{, '2 s')}, $database, $where),
		'ready', 'Q1: what is enqueued there waits as well');
	return;
}

sub perform_jobs
{
	my ($on, $where) = @_;
	query("ALTER SYSTEM SET smartlead.perform_jobs = $on", undef, $where);
	query('SELECT pg_reload_conf()', undef, $where);
	return;
}

# ---- a dump, loaded beside the original ----

query(q{CREATE ROLE fay; GRANT smartlead_user TO fay; GRANT USAGE ON FOREIGN SERVER sandbox TO fay;
	CREATE USER MAPPING FOR fay SERVER sandbox OPTIONS (api_key 'sandbox-key-alpha')});
ok(dispatcher_is('running', 'postgres'), 'the dispatcher runs');
perform_jobs('off');
ok(dispatcher_is('waiting', 'postgres'), 'Q1: it waits with smartlead.perform_jobs off');
my $once = enqueue('once');
my $running = enqueue('running');
query("UPDATE smartlead_queue SET state = 'running' WHERE id = $running");
my $hers = query(q{SET ROLE fay; SELECT smartlead_enqueue('create_campaign', '{"name": "hers"}')});
# And one of a role that is gone, which a dump can't name.
query(q{CREATE ROLE hal; GRANT smartlead_user TO hal; GRANT USAGE ON FOREIGN SERVER sandbox TO hal; CREATE USER MAPPING FOR hal SERVER sandbox OPTIONS (api_key 'sandbox-key-alpha')});
query(q{SET ROLE hal; SELECT smartlead_enqueue('create_campaign', '{"name": "his"}')});
query('DROP USER MAPPING FOR hal SERVER sandbox; DROP OWNED BY hal; DROP ROLE hal');
$node->command_ok([ 'pg_dump', '-f', $dump, $node->connstr('postgres') ], 'a dump');
perform_jobs('on');
is(query("SELECT state FROM smartlead_wait($once)"), 'done', 'the original goes on');
is(query("SELECT state FROM smartlead_wait($hers)"), 'done', 'for all roles');

# Elsewhere, one of the roles may be missing, and a number another role.
my $text = slurp_file($dump);
$text =~ s/\bfay\b/gus/g;
$text =~ s/^CREATE USER MAPPING FOR gus\b.*?;$//msg;
$text =~ s/^GRANT .*\bgus\b.*;$//mg;
append_to_file("$dump.gus", $text);
query('CREATE DATABASE copy TEMPLATE template0');
my $log = -s $node->logfile;
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', "$dump.gus", $node->connstr('copy') ],
	'Q5: a dump is loaded where a role is missing');
is(query('SELECT count(*) FROM smartlead_queue', 'copy'), '4', 'Q5: every job has come');
is(query(q{SELECT run_as, run_as_name FROM smartlead_queue WHERE args->>'name' = 'his'}, 'copy'), '-|hal', 'Q5: that of a role that is gone has none here either');
waits('copy');
ok(log_has($node, qr/the queue's jobs are not performed: the queue was copied from database "postgres"/, $log), 'Q1: the log says so');
is(times_created('once'), 1, 'Q1: nothing was done twice');
is(query('SELECT smartlead_adopt_queue()', 'copy'), '3', 'Q1: it is told to go on with what waits');
is(query(q{SELECT state, sqlstate FROM smartlead_queue WHERE args->>'name' = 'running'}, 'copy'), 'failed|SL520',
	'Q1: the outcome of what was running is unknown');
is(query("SELECT state FROM smartlead_wait($once)", 'copy'), 'done', 'Q1: and it goes on');
is(times_created('once'), 2, 'Q1: as it was told');
is(query(q{SELECT state FROM smartlead_wait((SELECT max(id) FROM smartlead_queue))}, 'copy'), 'done', 'Q1: also with what is new');
is(query('SELECT smartlead_adopt_queue()', 'copy'), '0', 'Q1: telling it again changes nothing');
is(query(q{SELECT state, run_as, run_as_name FROM smartlead_queue WHERE args->>'name' = 'hers'}, 'copy'), 'ready|-|gus',
	'Q5: the job of the missing role waits');
is(times_created('hers'), 1, 'Q5: and is not performed as somebody else');
query(q{CREATE ROLE gus; GRANT smartlead_user TO gus; GRANT USAGE ON FOREIGN SERVER sandbox TO gus;
	CREATE USER MAPPING FOR gus SERVER sandbox OPTIONS (api_key 'sandbox-key-alpha')}, 'copy');
query('SELECT pg_reload_conf()');
is(query("SELECT state, run_as FROM smartlead_wait($hers)", 'copy'), 'done|gus', 'Q5: until there is one');

# A dump that is loaded in the place of what it was made of: the jobs may have been done since.
perform_jobs('off');
$once = enqueue('in place', 'copy');
$node->command_ok([ 'pg_dump', '-f', "$dump.place", $node->connstr('copy') ], 'a dump of the copy');
perform_jobs('on');
is(query("SELECT state FROM smartlead_wait($once)", 'copy'), 'done', 'it goes on');
query('DROP EXTENSION smartlead CASCADE', 'copy');
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', "$dump.place", $node->connstr('copy') ], 'a dump is loaded in its place');
waits('copy');
is(times_created('in place'), 1, 'Q1: what was done since the dump is not done again');

# ---- CREATE DATABASE ... TEMPLATE ----

query(q{ALTER SYSTEM SET smartlead.databases = 'clone'; });
query('SELECT pg_reload_conf()');
ok($node->poll_query_until('postgres', q{SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE datname = 'postgres' AND backend_type LIKE 'smartlead%')}),
	'no workers');
my $templated = enqueue('templated');
$node->safe_psql('template1', 'CREATE DATABASE clone TEMPLATE postgres');
waits('clone');
is(times_created('templated'), 0, 'Q1: a clone performs nothing');
is(query('SELECT smartlead_adopt_queue()', 'clone'), '1', 'Q1: until it is told');
is(query("SELECT state FROM smartlead_wait($templated)", 'clone'), 'done', 'Q1: then it does');

# A database made from one with the extension, where nothing was ever enqueued, has copied nothing.
query('CREATE DATABASE empty TEMPLATE template0');
query('CREATE EXTENSION smartlead', 'empty');
query('CREATE DATABASE fresh TEMPLATE empty');
query(q{ALTER SYSTEM SET smartlead.databases = 'fresh'; });
query('SELECT pg_reload_conf()');
connect_sandbox($node, database => 'fresh');
is(query('SELECT state FROM smartlead_wait(' . enqueue('fresh', 'fresh') . ')', 'fresh'), 'done', 'Q1: an unused queue is at home at once');

# ---- logical replication ----

my $subscriber = PostgreSQL::Test::Cluster->new('subscriber');
$subscriber->init;
$subscriber->append_conf('postgresql.conf', "shared_preload_libraries = 'smartlead'\nsmartlead.databases = 'postgres'\nsmartlead.port = " . free_port());
$subscriber->start;
query('CREATE EXTENSION smartlead; CREATE ROLE fay', 'postgres', $subscriber);
connect_sandbox($subscriber);
ok(dispatcher_is('running', 'postgres', $subscriber), 'another cluster');
query('TRUNCATE smartlead_queue');
$once = enqueue('replicated');
query('CREATE PUBLICATION everything FOR ALL TABLES');
query("CREATE SUBSCRIPTION everything CONNECTION '" . $node->connstr . " dbname=postgres' PUBLICATION everything", 'postgres', $subscriber);
ok($subscriber->poll_query_until('postgres', "SELECT EXISTS (SELECT FROM smartlead_queue WHERE id = $once)"), 'the job is replicated');
ok($subscriber->poll_query_until('postgres', 'SELECT count(*) = 2 FROM smartlead_queue_home'), 'and whose it is');
ok(dispatcher_is('waiting', 'postgres', $subscriber), 'Q1: the subscriber waits');
is(times_created('replicated'), 0, 'Q1: it has performed nothing');
my ($code, $out, $err) = $subscriber->psql('postgres', 'SELECT smartlead_adopt_queue()');
like($err, qr/subscription "everything" still delivers jobs into the queue/, 'Q1: a queue that is still filled from elsewhere is not adopted');
query('ALTER SUBSCRIPTION everything DISABLE', 'postgres', $subscriber);
is(query('SELECT smartlead_adopt_queue()', 'postgres', $subscriber), '1', 'Q1: one that is not is');
is(query("SELECT state FROM smartlead_wait($once)", 'postgres', $subscriber), 'done', 'Q1: and goes on');
$subscriber->stop;
query('SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots');

# ---- a standby that is promoted ----

$node->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'backup', has_streaming => 1);
$standby->append_conf('postgresql.auto.conf', "smartlead.databases = 'postgres'\nsmartlead.port = " . free_port());
$standby->start;
$once = enqueue('failed over');
$node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));
$node->stop('immediate');
$standby->promote;
is(query("SELECT state FROM smartlead_wait($once)", 'postgres', $standby), 'done', 'Q1: a standby that is promoted goes on by itself');
perform_jobs('off', $standby);
ok(dispatcher_is('waiting', 'postgres', $standby), 'Q1: a physical copy beside the living original has a switch');
$once = enqueue('switched off', 'postgres', $standby);
is(query("SELECT state FROM smartlead_wait($once, '1 s')", 'postgres', $standby), 'ready', 'Q1: with which nothing is performed');
perform_jobs('on', $standby);
is(query("SELECT state FROM smartlead_wait($once)", 'postgres', $standby), 'done', 'Q1: and everything again');
$standby->stop;
done_testing();
