# Events partitioned by day with pg_partman, as docs/scale.md tells it: its own blocks are run here, in their order.
use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use SmartleadTest;
use WebhookTest;

my $document = slurp_file(dirname(dirname(dirname(abs_path(__FILE__)))) . '/docs/scale.md');
my ($node, $port) = webhook_node('partitions');
if (!has_partman($node))
{
	$node->stop;
	plan skip_all => 'pg_partman is not installed';
}
my ($url, $number) = (undef, 0);

sub sql
{
	return $node->safe_psql('postgres', $_[0]);
}

# The blocks below a heading. The line that tells readers where their own statements go is replaced by some.
sub blocks_below
{
	my ($heading, $own) = @_;
	my ($section) = $document =~ /^#+ \Q$heading\E\n(.*?)(?=^#|\z)/ms or die "no section \"$heading\"";
	return map { s/^-- ALTER TABLE .*$/$own/mr } $section =~ /<!-- run as superuser -->\n```sql\n(.*?)^```$/msg;
}

# In one session, as psql does; returns what goes wrong.
sub run_blocks
{
	my $sql = join '', map { partman_block($node, $_) } @_;
	my ($out, $err) = ('', '');
	my $ok = IPC::Run::run([ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres') ],
		'<', \$sql, '>', \$out, '2>', \$err);
	return $ok ? '' : $err || 'psql failed';
}

sub event
{
	my (%more) = @_;
	$number++;
	return { event_type => 'EMAIL_OPEN', stats_id => "s$number", lead_email => 'ada@clinic.example', campaign_id => 1,
		event_timestamp => '2026-03-03T09:00:00Z', %more };
}

# A partition for the day that is so many days ago, as pg_partman makes them.
sub make_day
{
	my ($ago) = @_;
	sql("SELECT partman.create_partition_time('public.smartlead_events', ARRAY[date_trunc('day', now()) - interval '$ago days'])");
	return;
}

# The events and what is known of them, as if they had come so many days ago.
sub let_age
{
	my ($days) = @_;
	sql(qq{SET session_replication_role = replica; -- a row that moves to another partition is inserted there
		UPDATE smartlead_events SET received_at = received_at - interval '$days days';
		UPDATE smartlead_event_keys SET received_at = received_at - interval '$days days'});
	return;
}

sub partitions
{
	return sql(q{SELECT count(DISTINCT tableoid) FROM smartlead_events});
}

sub partition_of_today
{
	return sql(q{SELECT c.oid::regclass FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid WHERE inhparent = 'smartlead_events'::regclass
		AND pg_get_expr(relpartbound, c.oid) LIKE 'FOR VALUES FROM (''' || current_date || '%'});
}

sub seen
{
	return sql('SELECT count(*) FROM work.seen');
}

sub start_anew
{
	sql(q{DROP TABLE smartlead_events; DELETE FROM partman.part_config; DROP TABLE IF EXISTS partman.template_public_smartlead_events;
		TRUNCATE work.seen; DELETE FROM smartlead_failed_events});
	return;
}

sql(q{
	CREATE SCHEMA work;
	GRANT ALL ON SCHEMA work TO app;
	SET ROLE app;
	CREATE TABLE work.seen (id bigint, who text);
	CREATE FUNCTION work.see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		INSERT INTO work.seen VALUES (NEW.id, current_user); RETURN NULL; END $$;});
my $trigger = 'CREATE TRIGGER see AFTER INSERT ON smartlead_events FOR EACH ROW EXECUTE FUNCTION work.see();';

# From the start
sql('DROP TABLE IF EXISTS smartlead_events');
my ($make, $maintain) = blocks_below('Partitions', '');
is(run_blocks($make), '', 'a table with partitions by day');
sql($trigger);
$url = webhook_url($node);
cmp_ok( sql(q{SELECT count(*) FROM pg_inherits, substring(pg_get_expr((SELECT relpartbound FROM pg_class WHERE oid = inhrelid), inhrelid) FROM 'FROM \(''(.*?)''') AS first
	WHERE inhparent = 'smartlead_events'::regclass AND first::timestamptz > now()}),
	'>=', 3, 'there are partitions for the days to come');
my @events = map { event() } 1 .. 10;
is(send_at_once($url, @events), join(' ', (200) x 10), 'ten events');
is(event_counts($node), '10/0', 'are stored');
is(sql('SELECT DISTINCT tableoid::regclass FROM smartlead_events'), partition_of_today(), 'in the partition of today');
is(sql('SELECT count(*), count(DISTINCT id), min(who) FROM work.seen'), '10|10|app', 'a trigger on the table ran once for each, as the subscriber');

# Each once, in whatever partition
make_day(1);
let_age(1);
is(send_event($url, event()), 200, 'one more, a day later');
is(partitions(), 2, 'in another partition');
is(send_at_once($url, @events), join(' ', (200) x 10), 'all of yesterday, once more');
is(event_counts($node), '11/0', 'adds nothing');
my $pid = receiver_pid($node);
sql("SELECT pg_terminate_backend($pid)");
ok($node->poll_query_until('postgres', "SELECT pid <> $pid FROM smartlead_workers WHERE worker = 'receiver' AND state = 'running'"), 'the receiver starts again');
receiver_listens($port);
is(send_event($url, $events[3]), 200, 'after that, too');
is(event_counts($node), '11/0', 'it adds nothing');
is(seen(), 11, 'and no trigger ran for what came again');

# Reading on
my @ids = split /\n/, sql('SET ROLE app; SELECT id FROM smartlead_new_events(0)');
is(scalar @ids, 11, 'all are read, over partitions');
is("@ids", join(' ', sort { $a <=> $b } @ids), 'in the order of their ids');
is(sql("SET ROLE app; SELECT count(*) FROM smartlead_new_events($ids[9])"), 1, 'from any position on');

# Old ones go with their partitions
make_day($_) for 100, 101;
let_age(100);
is(send_event($url, event()), 200, 'an event a hundred days later');
is(run_blocks($maintain), '', 'maintenance');
is(event_counts($node), '1/0', 'has dropped what is old');
is(sql("SET ROLE app; SELECT count(*) FROM smartlead_new_events($ids[0])"), 1, 'reading on goes on');
is(send_event($url, event()), 200, 'and so do events');
is(event_counts($node), '2/0', 'which arrive');

# The housekeeper leaves partitions alone, and says so.
sql(q{ALTER SYSTEM SET smartlead.event_retention = '1h'});
make_day(2);
let_age(2);
$node->reload;
ok( $node->poll_query_until('postgres', q{SELECT count(*) > 0 FROM smartlead_workers WHERE trouble LIKE '%artition%'}),
	'smartlead.event_retention is told not to hold for partitions');
is(event_counts($node), '2/0', 'and removes nothing');
sql('ALTER SYSTEM RESET smartlead.event_retention');
$node->reload;

# A day without a partition
my $today = partition_of_today();
sql("DROP TABLE $today");
is(send_event($url, event()), 200, 'an event for which there is no partition');
is(sql('SELECT count(*) FROM smartlead_events_default'), 1, 'is in the default one');
my ($empty) = $document =~ /`(CALL partman\.partition_data_proc\('public\.smartlead_events'\))`/;
is(run_blocks("SET session_replication_role = replica; $empty;"), '', 'which can be emptied');
is(sql('SELECT count(*) FROM smartlead_events_default'), 0, 'into a partition');
is(event_counts($node), '3/0', 'and nothing is lost');
is(seen(), 14, 'nor done twice');
$today = partition_of_today();
sql("DROP TABLE smartlead_events_default; ALTER TABLE smartlead_events DETACH PARTITION $today");
is(send_event($url, event()), 200, 'when there is no default either');
is(event_counts($node), '2/1', 'it is among the failed events');
sql("ALTER TABLE smartlead_events ATTACH PARTITION $today FOR VALUES FROM (current_date) TO (current_date + 1)");
is(sql('SET ROLE app; SELECT count(smartlead_retry_event(id)) FROM smartlead_failed_events'), 1, 'and stored when there is a partition');
is(event_counts($node), '4/0', 'as all others');

# A plain table with events, of which the newest are of today, the oldest of three days ago
sub plain_table
{
	start_anew();
	sql("SELECT smartlead_create_events(); $trigger");
	@events = map { event() } 1 .. 20;
	is(send_at_once($url, @events), join(' ', (200) x 20), 'twenty events');
	sql(q{UPDATE smartlead_events SET received_at = received_at - (id % 4) * interval '1 day'});
	is(event_counts($node), '20/0', 'in a plain table');
	is(seen(), 20, 'each with its trigger');
	return;
}

sub nothing_has_changed
{
	is(event_counts($node), '20/0', 'all are there');
	is(seen(), 20, 'no trigger ran again');
	is(send_at_once($url, @events), join(' ', (200) x 20), 'all of them, once more');
	is(event_counts($node), '20/0', 'add nothing');
	is(send_event($url, event()), 200, 'a new one');
	is(event_counts($node), '21/0', 'arrives');
	is(seen(), 21, 'with its trigger, once');
	is(sql('SET ROLE app; SELECT count(*) FROM smartlead_new_events(0)'), 21, 'all are read');
	return;
}

my ($switch, $move, $prepare, $attach) = blocks_below('From a plain table', $trigger);
plain_table();
is(run_blocks($switch), '', 'a new table takes the place of the old one');
is(send_event($url, my $meanwhile = event()), 200, 'an event');
is(partitions(), 1, 'arrives there');
is(run_blocks($move), '', 'the others are moved');
is(partitions(), 4, 'each to its day');
sql("DELETE FROM smartlead_events WHERE payload->>'stats_id' = '$meanwhile->{stats_id}'; DELETE FROM work.seen WHERE id NOT IN (SELECT id FROM smartlead_events)");
nothing_has_changed();

plain_table();
is(run_blocks($prepare, $attach =~ s/^-- DROP.*$/DROP TRIGGER see ON smartlead_events_old;/mr), '', 'the old table becomes a partition');
is(partitions(), 1, 'of all that was there');
nothing_has_changed();
is(run_blocks($maintain), '', 'maintenance, without retention');
is(event_counts($node), '21/0', 'leaves it there');
sql(q{UPDATE partman.part_config SET retention = '90 days', retention_keep_table = false, infinite_time_partitions = true});
is(run_blocks($maintain), '', 'and with it');
is(event_counts($node), '0/0', 'drops it whole, as the document warns');

$node->stop;
done_testing();
