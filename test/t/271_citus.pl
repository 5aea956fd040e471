# Events in a table that Citus distributes, with receivers on two nodes, as docs/scale.md tells it. Runs where PG_CONFIG
# leads to an installation that has Citus.
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
my ($distribute, $share) = ($document =~ /^## Citus\n(.*?)(?=^## )/ms)[0] =~ /<!-- run as superuser -->\n```sql\n(.*?)^```$/msg;
my ($conf) = $document =~ /<!-- citus\.conf -->\n```\n(.*?)^```$/ms;

# A node of Citus with smartlead beside it.
sub citus_node
{
	my ($name) = @_;
	my $port = free_port();
	my $node = smartlead_node($name, preload => 0, extension => 0,
		conf => "${conf}max_worker_processes = 24\nmax_connections = 200\nlisten_addresses = ''\n"
		  . "smartlead.databases = 'postgres'\nsmartlead.port = $port\ncitus.enable_statistics_collection = off");
	return ($node, $port);
}

{
	my $probe = smartlead_node('probe', preload => 0, extension => 0);
	my $has = $probe->safe_psql('postgres', q{SELECT count(*) FROM pg_available_extensions WHERE name = 'citus'});
	$probe->stop;
	plan skip_all => 'Citus is not installed' unless $has;
}

my ($coordinator, $port) = citus_node('coordinator');
my ($other, $other_port) = citus_node('other');
my $number = 0;

sub sql
{
	return $coordinator->safe_psql('postgres', $_[0]);
}

sub event
{
	my (%more) = @_;
	$number++;
	return { event_type => 'EMAIL_OPEN', stats_id => "s$number", lead_email => 'ada@clinic.example', campaign_id => 1,
		event_timestamp => '2026-03-03T09:00:00Z', %more };
}

sub failed_anywhere
{
	return join ' ', map { $_->safe_psql('postgres', 'SELECT count(*) FROM smartlead_failed_events') } $coordinator, $other;
}

$_->safe_psql('postgres', 'CREATE EXTENSION citus') for $coordinator, $other;
sql(sprintf q{SELECT citus_set_coordinator_host('%s', %d); SELECT citus_add_node('%s', %d)},
	$coordinator->host, $coordinator->port, $other->host, $other->port);
sql('CREATE EXTENSION smartlead; CREATE ROLE app LOGIN; GRANT smartlead_admin TO app');
make_connection($coordinator, 'postgres');
sql($distribute);
is(sql(q{SELECT partmethod FROM pg_dist_partition WHERE logicalrelid = 'smartlead_events'::regclass}), 'h', 'the events are distributed');
sql(q{CREATE SCHEMA work; GRANT USAGE ON SCHEMA work TO app;
	CREATE TABLE work.seen (id bigint, who text, n bigint DEFAULT 1);
	SELECT create_distributed_table('work.seen', 'id');
	CREATE FUNCTION work.see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE LOG 'seen % as %', NEW.id, current_user; RETURN NULL; END $$;
	CREATE TRIGGER see AFTER INSERT ON smartlead_events FOR EACH ROW EXECUTE FUNCTION work.see()});
receiver_listens($port);
my $url = webhook_url($coordinator);
my @events = map { event() } 1 .. 12;
is(send_at_once($url, @events), join(' ', (200) x 12), 'twelve events');
is(sql('SELECT count(*), count(DISTINCT id) FROM smartlead_events'), '12|12', 'are stored');
is(failed_anywhere(), '0 0', 'none is among the failed ones');
is(send_at_once($url, @events), join(' ', (200) x 12), 'the same again');
is(sql('SELECT count(*) FROM smartlead_events'), 12, 'adds nothing');
my @seen = map { slurp_file($_->logfile) =~ /seen \d+ as app/g } $coordinator, $other;
is(scalar @seen, 12, 'a trigger ran once for each, as the subscriber');
my @ids = split /\n/, sql('SET ROLE app; SELECT id FROM smartlead_new_events(0)');
is(scalar @ids, 12, 'all are read');
is("@ids", join(' ', sort { $a <=> $b } @ids), 'in the order of their ids');

# A receiver on the other node as well
sql($share);
$other->safe_psql('postgres', q{SELECT setval('smartlead_event_id_seq', 2000000000000000);
	CREATE USER MAPPING FOR PUBLIC SERVER hooks OPTIONS (api_key 'unused')});
receiver_listens($other_port);
my $other_url = webhook_url($other);
is(send_at_once($other_url, @events[ 0 .. 5 ]), join(' ', (200) x 6), 'the other node gets what is known');
is(sql('SELECT count(*) FROM smartlead_events'), 12, 'which adds nothing');
my @both = map { event() } 1 .. 10;
my @answers = map { (send_beside($url, $_), send_beside($other_url, $_)) } @both;
is(join(' ', map { status_of($_) } @answers), join(' ', (200) x 20), 'ten events, each on both nodes at once');
is(sql('SELECT count(*), count(DISTINCT fingerprint) FROM smartlead_events'), '22|22', 'each is there once');
is(failed_anywhere(), '0 0', 'and none is among the failed ones');
is(send_event($other_url, my $last = event()), 200, 'one for the other node alone');
is(sql(qq{SELECT id > 2000000000000000 FROM smartlead_events WHERE payload->>'stats_id' = '$last->{stats_id}'}), 't', 'has an id of that node');
my $read = $other->safe_psql('postgres', 'SET ROLE app; SELECT count(*) FROM smartlead_new_events(2000000000000000)')
  + sql('SET ROLE app; SELECT count(*) FROM smartlead_new_events(0)');
is($read, 23, 'both together tell all, each its own');

# Old keys go, for all nodes
sql(q{UPDATE smartlead_event_keys SET received_at = '2020-01-01' WHERE event_id < 2000000000000000});
$_->reload for $coordinator, $other;
ok($coordinator->poll_query_until('postgres', 'SELECT count(*) = 0 FROM smartlead_event_keys WHERE event_id < 2000000000000000'),
	'keys that are old are removed');
cmp_ok(sql('SELECT count(*) FROM smartlead_event_keys'), '>', 0, 'and those that are young are not');

$_->stop for $other, $coordinator;
done_testing();
