# The table of events is the user's own: whatever it is made of, each event gets into it once.
use strict;
use warnings;

use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use SmartleadSession;
use SmartleadTest;
use WebhookTest;

my ($node, $port) = webhook_node('table');

sub sql
{
	return scalar $node->safe_psql('postgres', $_[0]);
}

my $number = 0;
sub event
{
	my (%more) = @_;
	$number++;
	return { event_type => 'EMAIL_OPEN', stats_id => "s$number", lead_email => 'ada@clinic.example',
		campaign_id => 1, event_timestamp => '2026-03-03T09:00:00Z', %more };
}

# What the test has sent: once more, in other words, it adds nothing.
my @sent;
sub send_new
{
	my ($url, $n, $what) = @_;
	my @new = map { event() } 1 .. $n;
	is(send_at_once($url, @new), join(' ', (200) x $n), $what);
	push @sent, @new;
	return;
}

sub ids
{
	return [ map { $_->{stats_id} } @_ ];
}

sub stored
{
	return [ split /\n/, sql(q{SELECT stats_id FROM smartlead_events ORDER BY substr(stats_id, 2)::int}) ];
}

# ---- without one, and with something else in its place ----

my $url = webhook_url($node);
sql('DROP TABLE smartlead_events');
is(send_event($url, event()), 503, 'without a table, events shall come again');
like(sql(q{SELECT trouble FROM smartlead_workers WHERE worker = 'receiver'}), qr/^there is no table smartlead_events\. .*SELECT smartlead_create_events\(\)/,
	'and smartlead_workers says what to do');
sql(q{
	CREATE ROLE eve LOGIN; GRANT CREATE ON SCHEMA public TO eve; CREATE TABLE caught (who text); GRANT INSERT ON caught TO PUBLIC;
	SET ROLE eve;
	CREATE TABLE smartlead_events (LIKE smartlead_event);
	CREATE FUNCTION public.trap() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO public.caught VALUES (current_user); RETURN NULL; END';
	CREATE TRIGGER trap AFTER INSERT OR UPDATE ON smartlead_events FOR EACH ROW EXECUTE FUNCTION public.trap();
	GRANT ALL ON smartlead_events TO PUBLIC;
	INSERT INTO smartlead_events (connection) VALUES ('hooks'); RESET ROLE; DELETE FROM caught;});
is(send_event($url, event()), 503, 'nor are they written into the table of a role that is not trusted');
like(sql(q{SELECT trouble FROM smartlead_workers WHERE worker = 'receiver'}), qr/Its owner "eve" has not the rights of smartlead_admin/, 'which is told');
sql('ALTER SERVER hooks RENAME TO renamed; ALTER SERVER renamed RENAME TO hooks');
is(sql('SELECT count(*) FROM caught'), 0, 'nothing of that role has run');
is(sql('SELECT count(*) FROM smartlead_failed_events'), 0, 'nothing was put aside');
sql('DROP TABLE smartlead_events; REVOKE CREATE ON SCHEMA public FROM eve');
sql('ALTER SERVER hooks RENAME TO renamed; ALTER SERVER renamed RENAME TO hooks');
pass('without a table, a connection can be renamed');

# ---- two sessions make it at once ----

my ($one, $two) = map { SmartleadSession->new($node) } 1, 2;
$one->query('BEGIN; SET ROLE app; SELECT smartlead_create_events()');
$two->start('SET ROLE app; SELECT smartlead_create_events()');
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%smartlead_create_events%'}), 'of two sessions that make it, one waits');
$one->query('COMMIT');
my ($made) = $two->finish;
is($made, 'smartlead_events', 'and finds what the other one has made');
$_->quit for $one, $two;
is(sql(q{SELECT pg_get_userbyid(relowner) FROM pg_class WHERE relname = 'smartlead_events'}), 'smartlead_admin', 'which belongs to smartlead_admin');
send_new($url, 3, 'events are stored in it');
is_deeply(stored(), ids(@sent), 'each once');
sql('ALTER ROLE smartlead_admin RENAME TO "the boss"; ALTER ROLE smartlead_user RENAME TO "the staff"; CREATE TABLE kept (LIKE smartlead_events); INSERT INTO kept SELECT * FROM smartlead_events; DROP TABLE smartlead_events');
sql('SET ROLE app; SELECT smartlead_create_events()');
is(sql(q{SELECT relowner::regrole, (SELECT string_agg(grantee::regrole::text, ',') FROM aclexplode(relacl) WHERE grantee <> relowner) FROM pg_class WHERE relname = 'smartlead_events'}),
	'"the boss"|"the staff"', 'or to that role by another name');
sql('ALTER ROLE "the boss" RENAME TO smartlead_admin; ALTER ROLE "the staff" RENAME TO smartlead_user');

# ---- tables of all sorts ----

# Makes the table anew, with what there was in it.
sub table_is
{
	my ($definition) = @_;
	sql(qq{DROP TABLE IF EXISTS old; ALTER TABLE smartlead_events RENAME TO old; $definition
		INSERT INTO smartlead_events (id, received_at, connection, stats_id, fingerprint, event_at, payload) OVERRIDING SYSTEM VALUE
		SELECT id, received_at, connection, stats_id, fingerprint, event_at, payload FROM old;
		ALTER TABLE smartlead_events OWNER TO smartlead_admin; SELECT smartlead_create_events()});
	return;
}

sql('INSERT INTO smartlead_events SELECT * FROM kept');
my $today = q{date_trunc('day', now())};
my %tables = (
	'1 without keys and identity' => 'CREATE TABLE smartlead_events (LIKE smartlead_event);',
	'2 in another order, with more columns and an identity' => q{CREATE TABLE smartlead_events (note text DEFAULT 'new', payload jsonb, gone int,
		domain text GENERATED ALWAYS AS (split_part(lead_email, '@', 2)) STORED, link text, id bigint GENERATED ALWAYS AS IDENTITY, fingerprint uuid,
		received_at timestamptz, connection text, webhook bigint, request_id text, event_type text, kind text, event_at timestamptz,
		campaign_id bigint, campaign_name text, client_id bigint, lead_id bigint, lead_map_id bigint, lead_email text, lead_name text, from_email text,
		to_email text, sequence_number int, subject text, message_id text, stats_id text, category text, category_id bigint, reply_text text);
		ALTER TABLE smartlead_events DROP gone;},
	'3 with row security, forced, for writers too' => q{CREATE TABLE smartlead_events (LIKE smartlead_event, UNIQUE (id));
		ALTER TABLE smartlead_events ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
		CREATE POLICY mine ON smartlead_events TO app USING (false) WITH CHECK (connection = 'hooks');},
	'4 in partitions of days' => q{CREATE TABLE smartlead_events (LIKE smartlead_event, PRIMARY KEY (id, received_at)) PARTITION BY RANGE (received_at);
		CREATE TABLE days PARTITION OF smartlead_events FOR VALUES FROM ('2000-01-01') TO ('2100-01-01');
		CREATE TABLE others PARTITION OF smartlead_events DEFAULT;},
	'5 in partitions of connections' => q{CREATE TABLE smartlead_events (LIKE smartlead_event) PARTITION BY LIST (connection);
		CREATE TABLE hooks PARTITION OF smartlead_events FOR VALUES IN ('hooks');});
for my $table (sort keys %tables)
{
	my $what = substr $table, 2;
	table_is($tables{$table});
	my @before = @sent;
	send_new($url, 5, "a table $what");
	is_deeply(stored(), ids(@sent), "$what: all are there");
	is(send_at_once($url, @before[-2, -1], $sent[-1], map { { %{ $sent[$_] }, webhook_id => 17 } } 0, 1), '200 200 200 200 200', "$what: some once more");
	is_deeply(stored(), ids(@sent), "$what: add nothing");
	is(sql('SELECT count(*) FROM smartlead_failed_events'), 0, "$what: nothing fails");
	is(sql('SELECT count(*) FROM smartlead_new_events(0)'), scalar @sent, "$what: a reader goes on") if $table !~ /^3/;
	is(sql('SELECT DISTINCT note, domain FROM smartlead_events WHERE lead_email IS NOT NULL'), 'new|clinic.example', "$what: with defaults and what is generated") if $table =~ /^2/;
}

# ---- a partition that is missing ----

my $now = sql('SELECT clock_timestamp()');
table_is(qq{CREATE TABLE smartlead_events (LIKE smartlead_event, PRIMARY KEY (id, received_at)) PARTITION BY RANGE (received_at);
	CREATE TABLE past PARTITION OF smartlead_events FOR VALUES FROM ('2000-01-01') TO ('$now');});
my $late = event();
is(send_event($url, $late), 200, 'an event without a partition is answered');
is(sql('SELECT sqlstate FROM smartlead_failed_events'), '23514', 'and put aside');
sql("CREATE TABLE future PARTITION OF smartlead_events FOR VALUES FROM ('$now') TO ('2100-01-01')");
like(sql('SET ROLE app; SELECT smartlead_retry_event(id) FROM smartlead_failed_events'), qr/^\d+$/, 'it is tried again when the partition is there');
push @sent, $late;
is_deeply(stored(), ids(@sent), 'and stored');
is(sql('SELECT tableoid::regclass FROM smartlead_events ORDER BY id DESC LIMIT 1'), 'future', 'in it');
sql('UPDATE smartlead_events SET received_at = received_at - interval $$10 days$$; ALTER TABLE smartlead_events DETACH PARTITION past');
is(send_at_once($url, @sent), join(' ', (200) x @sent), 'all once more');
is(sql('SELECT count(*) FROM smartlead_events'), 0, 'a repetition adds nothing, though the event has moved to another partition, which is gone');
is(sql('SELECT count(*) FROM smartlead_failed_events'), 0, 'nothing fails');

# ---- without the extension, and with a new one ----

sql(q{DROP TABLE smartlead_events, past, old; SELECT smartlead_create_events(); CREATE TABLE seen (id bigint); GRANT INSERT ON seen TO app;
	CREATE FUNCTION public.see() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO public.seen VALUES (NEW.id); RETURN NULL; END';
	CREATE TRIGGER see AFTER INSERT ON smartlead_events FOR EACH ROW EXECUTE FUNCTION public.see()});
@sent = ();
send_new($url, 2, 'two events');
my $highest = sql('SELECT max(id) FROM smartlead_events');
sql('SET client_min_messages = error; DROP EXTENSION smartlead CASCADE');
is_deeply(stored(), ids(@sent), 'they are there without the extension');
sql('CREATE EXTENSION smartlead');
make_connection($node, 'postgres');
$url = webhook_url($node);
ok(receiver_listens($port), 'the receiver of a new extension');
send_new($url, 1, 'an event more');
is_deeply(stored(), ids(@sent), 'is stored beside them');
cmp_ok(sql('SELECT max(id) FROM smartlead_events'), '>', $highest, 'above them');
is(sql('SELECT count(*) FROM seen'), 3, 'and the trigger is as it was');

# ---- who may index it ----

sql('GRANT CREATE ON SCHEMA public TO smartlead_admin');
my $app = SmartleadSession->new($node, user => 'app');
is(($app->query('CREATE INDEX by_address ON public.smartlead_events (lead_email)'))[1], '',
	'a member of smartlead_admin makes an index, where that role may create in the schema');

$node->stop;
done_testing();
