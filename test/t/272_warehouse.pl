# Events flow into a warehouse by logical replication, as docs/scale.md tells it: its own blocks are run here.
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
my ($node, $port) = webhook_node('receiving', init => [ allows_streaming => 'logical' ]);
my $warehouse = smartlead_node('warehouse', extension => 0);
my $number = 0;

sub sql
{
	return $node->safe_psql('postgres', $_[0]);
}

sub there
{
	return $warehouse->safe_psql($_[1] || 'postgres', $_[0]);
}

sub block
{
	my ($heading) = @_;
	my ($block) = $document =~ /^#+ \Q$heading\E\n.*?```sql\n(.*?)^```$/ms or die "no block below \"$heading\"";
	return $block;
}

sub event
{
	$number++;
	return { event_type => 'EMAIL_OPEN', stats_id => "s$number", lead_email => 'ada@clinic.example', campaign_id => 1,
		event_timestamp => '2026-03-03T09:00:00Z', payload_of => 'a warehouse' };
}

# All of the events, as one text to be compared.
my $all = q{SELECT count(*) || ' ' || md5(string_agg(id || ' ' || fingerprint || ' ' || kind || ' ' || event_at || ' ' || payload, ',' ORDER BY id)) FROM smartlead_events};

sub arrives
{
	my ($what, $database) = @_;
	my $here = sql($all);
	ok(wait_until(sub { there($all, $database) eq $here }, $what), $what);
	return;
}

# Here in partitions, with ids of its own; there in plain tables, with the extension and without
sql(q{DROP TABLE IF EXISTS smartlead_events; SELECT smartlead_create_events(partitioned => true);
	CREATE TABLE smartlead_events_all PARTITION OF smartlead_events DEFAULT});
sql(block('Ids of several clusters'));
sql(block('A warehouse'));
there('CREATE EXTENSION smartlead; SELECT smartlead_create_events()');
there(q{CREATE TABLE seen (id bigint); GRANT INSERT ON seen TO PUBLIC; CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO public.seen VALUES (NEW.id); RETURN NULL; END';
	CREATE TRIGGER see AFTER INSERT ON smartlead_events FOR EACH ROW EXECUTE FUNCTION see();
	ALTER TABLE smartlead_events ENABLE ALWAYS TRIGGER see});
my ($subscribe) = $document =~ /<!-- run as warehouse -->\n```sql\n(.*?)^```$/ms;
my $connection = $node->connstr('postgres') =~ s/'/''/gr;
there($subscribe =~ s/CONNECTION '.*?'/CONNECTION '$connection'/r);

my $url = webhook_url($node);
is(send_at_once($url, map { event() } 1 .. 12), join(' ', (200) x 12), 'twelve events');
is(sql('SELECT min(id) > 2000000000000000, count(*) FROM smartlead_events'), 't|12', 'with ids of the second cluster');
is(sql('SET ROLE app; SELECT count(*) FROM smartlead_new_events(0)'), 12, 'which are read on');
arrives('they are in the warehouse');
is(there('SELECT count(*), count(DISTINCT id) FROM seen'), '12|12', 'where a trigger that is always enabled ran for each');
is(send_event($url, event()), 200, 'one more');
arrives('is there, too');
sql('DELETE FROM smartlead_events WHERE id < (SELECT max(id) FROM smartlead_events)');
is(send_event($url, event()), 200, 'one, after the others were removed');
ok(wait_until(sub { there('SELECT count(*) FROM smartlead_events') == 14 }, 'the one'), 'arrives');
is(sql('SELECT count(*) FROM smartlead_events'), 2, 'and what was removed here stays there');
is(there(q{SELECT count(*) FROM smartlead_workers WHERE worker <> 'launcher' AND pid IS NOT NULL}), 0, 'no worker runs there');

# Without the extension, from the definition of a plain table
sql('DROP TABLE smartlead_events; SELECT smartlead_create_events()');
sql(q{ALTER PUBLICATION smartlead_events ADD TABLE smartlead_events});
there('CREATE DATABASE bare');
my ($dump) = $document =~ /`pg_dump (--schema-only .*?)`/;
my ($out, $err) = ('', '');
IPC::Run::run([ 'pg_dump', '-d', $node->connstr('postgres'), split / /, $dump ], '>', \$out, '2>', \$err) or diag $err;
there($out, 'bare');
there($subscribe =~ s/CONNECTION '.*?'/CONNECTION '$connection'/r =~ s/SUBSCRIPTION smartlead_events/SUBSCRIPTION bare/r, 'bare');
is(send_at_once($url, map { event() } 1 .. 5), join(' ', (200) x 5), 'five events');
arrives('they are in a table that knows nothing of smartlead', 'bare');

there('DROP SUBSCRIPTION bare', 'bare');
there('DROP SUBSCRIPTION smartlead_events');
$warehouse->stop;
$node->stop;
done_testing();
