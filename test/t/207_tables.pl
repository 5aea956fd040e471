# The table of events is the user's own. Whatever becomes of events in a plain one becomes of them in one with columns,
# an order of columns and row security of the user's, and in one that pg_partman cuts by days.
use strict;
use warnings;

use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use SmartleadSession;
use SmartleadTest;
use WebhookTest;

my ($node, $port) = webhook_node('tables');
my $url = webhook_url($node);
my ($table, $number);

sub sql
{
	return $node->safe_psql('postgres', $_[0]);
}

# An event of its own: no other has its stats_id, nor, of another kind of table, its campaign.
sub event
{
	my (%more) = @_;
	$number++;
	return { event_type => 'EMAIL_OPEN', stats_id => "$table->{name} $number", subject => 'plain',
		lead_email => 'ada@clinic.example', campaign_id => 1, event_timestamp => '2026-03-03T09:00:00Z', %more };
}

sub forget
{
	sql('DELETE FROM smartlead_events; DELETE FROM smartlead_failed_events; TRUNCATE work.seen');
	return;
}

sql(q{
	CREATE ROLE reader LOGIN;
	GRANT smartlead_user TO reader;
	CREATE SCHEMA work;
	GRANT ALL ON SCHEMA work, public TO app;
	SET ROLE app;
	CREATE TABLE work.seen (what text, n bigint, who text);
	CREATE FUNCTION work.change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		IF NEW.subject = 'drop' THEN RETURN NULL; END IF;
		IF NEW.subject = 'fail' THEN RAISE EXCEPTION 'no %', NEW.subject; END IF;
		NEW.lead_name := upper(NEW.subject); RETURN NEW; END $$;
	CREATE FUNCTION work.row() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		INSERT INTO work.seen VALUES ('row', NEW.id, current_user); RETURN NULL; END $$;
	CREATE FUNCTION work.rows() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		INSERT INTO work.seen SELECT 'statement', count(*), current_user FROM new_events; RETURN NULL; END $$;});

my @tables = (
	{   name => 'plain',
		campaign => 771,
		maker => 'app',
		make => sub { sql('SELECT smartlead_create_events()') } },
	{   name => 'own',
		campaign => 772,
		maker => 'app',
		make => sub {
			sql(q{
				SET ROLE app;
				CREATE TABLE public.smartlead_events (
					note text DEFAULT 'new', gone integer, payload jsonb NOT NULL, LIKE_BUT_PAYLOAD,
					seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
					domain text GENERATED ALWAYS AS (split_part(lead_email, '@', 2)) STORED,
					CHECK (subject <> 'rude'));} =~ s/LIKE_BUT_PAYLOAD/columns_but_payload()/er . q{
				ALTER TABLE smartlead_events DROP COLUMN gone;
				ALTER TABLE smartlead_events ALTER id SET NOT NULL, ALTER id ADD GENERATED ALWAYS AS IDENTITY;
				CREATE UNIQUE INDEX ON smartlead_events (id) WITH (fillfactor = 100);
				CREATE INDEX ON smartlead_events (lead_email, event_at);
				CREATE INDEX ON smartlead_events USING gin (payload);
				ALTER TABLE smartlead_events ENABLE ROW LEVEL SECURITY;
				ALTER TABLE smartlead_events FORCE ROW LEVEL SECURITY;
				CREATE POLICY all_of_it ON smartlead_events TO app USING (true);
				CREATE POLICY one_campaign ON smartlead_events FOR SELECT TO smartlead_user USING (campaign_id = 2);
				GRANT SELECT ON smartlead_events TO smartlead_user;});
			sql('SELECT smartlead_create_events()');
		} },
	{   name => 'daily',
		campaign => 773,
		maker => superuser($node), # for rights on the partitions, which are its own
		make => sub {
			sql('SELECT smartlead_create_events(partitioned => true)');
			partition_daily($node);
		} });

# The columns of the type in another order.
sub columns_but_payload
{
	return sql(q{SELECT string_agg(format('%I %s', attname, format_type(atttypid, atttypmod)), ', ' ORDER BY attnum DESC)
		FROM pg_attribute WHERE attrelid = 'smartlead_event'::regclass AND attnum > 0 AND attname <> 'payload'});
}

sub it_arrives
{
	is(send_event($url, event(event_type => 'EMAIL_REPLY', reply_text => 'Yes', lead_name => 'Ada')), 200, 'an event');
	is( sql(q{SELECT concat_ws('|', kind, connection, campaign_id, lead_email, lead_name, event_at AT TIME ZONE 'UTC', payload->>'event_type') FROM smartlead_events}),
		'EMAIL_REPLY|hooks|1|ada@clinic.example|Ada|2026-03-03 09:00:00|EMAIL_REPLY', 'its columns');
	is( sql(q{SELECT count(*) FROM smartlead_events e JOIN smartlead_event_keys k ON k.event_id = e.id AND k.fingerprint = e.fingerprint}),
		1, 'its key');
	is(send_at_once($url, map { event() } 1 .. 20), join(' ', (200) x 20), 'twenty at once');
	is(event_counts($node), '21/0', 'all are there');
	is(sql('SELECT count(DISTINCT id) FROM smartlead_events'), 21, 'with ids of their own');
	if ($table->{name} eq 'own')
	{
		is(sql('SELECT DISTINCT note, seen_at IS NOT NULL, domain FROM smartlead_events'), 'new|t|clinic.example',
			'columns of the user have their defaults');
		is(send_event($url, event(subject => 'rude')), 200, 'a constraint refuses one');
		is(event_counts($node), '21/1', 'which is among the failed ones');
	}
}

sub once
{
	my @events = map { event() } 1 .. 3;
	is(send_at_once($url, @events, @events), join(' ', (200) x 6), 'each of three twice, at once');
	is(send_event($url, $events[1], { 'X-Request-Id' => 'again' }), 200, 'and one more time');
	is(send_event(webhook_url($node), $events[2]), 200, 'by another webhook, too');
	is(event_counts($node), '3/0', 'are three');
	my $change = { event_type => 'CAMPAIGN_STATUS_CHANGED', campaign_id => $table->{campaign} };
	send_event($url, { %$change, previous_status => $_->[0], current_status => $_->[1] })
	  for [ 'A', 'P' ], [ 'A', 'P' ], [ 'P', 'A' ], [ 'A', 'P' ];
	is( sql(q{SELECT string_agg(payload->>'current_status', ' ' ORDER BY id) FROM smartlead_events WHERE kind = 'CAMPAIGN_STATUS_CHANGED'}),
		'P A P', 'of changes without a time, the same one twice in a row is one');
	sql('DELETE FROM smartlead_events');
	is(send_event($url, $events[0]), 200, 'what was deleted meanwhile, again');
	is(event_counts($node), '0/0', 'is not stored again');
}

sub triggers
{
	sql(qq{SET ROLE "$table->{maker}";
		CREATE TRIGGER change BEFORE INSERT ON smartlead_events FOR EACH ROW EXECUTE FUNCTION work.change();
		CREATE TRIGGER row AFTER INSERT ON smartlead_events FOR EACH ROW WHEN (NEW.lead_name = 'PLAIN') EXECUTE FUNCTION work.row();
		CREATE TRIGGER rows AFTER INSERT ON smartlead_events REFERENCING NEW TABLE AS new_events
			FOR EACH STATEMENT EXECUTE FUNCTION work.rows();});
	my $again = event(subject => 'drop');
	is(send_at_once($url, event(), event(), $again, event(subject => 'fail'), event(subject => 'other')),
		'200 200 200 200 200', 'five at once: triggers change them, drop one, and fail for one');
	is(sql('SELECT string_agg(lead_name, $$ $$ ORDER BY lead_name) FROM smartlead_events'), 'OTHER PLAIN PLAIN', 'three are stored as they were changed');
	is( sql(q{SELECT count(*), count(DISTINCT n), min(who), max(who) FROM work.seen s JOIN smartlead_events e ON e.id = n AND e.lead_name = 'PLAIN' WHERE what = 'row'}),
		'2|2|app|app', 'a trigger on rows sees each once, as the subscriber');
	is(sql(q{SELECT sum(n) FROM work.seen WHERE what = 'statement'}), 3, 'one on statements sees all');
	is(event_counts($node), '3/1', 'the one that fails is among the failed ones');
	is(send_event($url, $again), 200, 'what a trigger has dropped, again');
	is(event_counts($node), '3/1', 'stays dropped');
	my $failed = sql('SELECT id FROM smartlead_failed_events');
	my ($code, $out, $err) = $node->psql('postgres', "SET ROLE app; SELECT smartlead_retry_event($failed)");
	like($err, qr/no fail/, 'it fails once more');
	sql('DROP TRIGGER change ON smartlead_events; DROP TRIGGER rows ON smartlead_events');
	like(sql("SET ROLE app; SELECT smartlead_retry_event($failed)"), qr/^\d+$/, 'and is stored when nothing is in its way');
	is(event_counts($node), '4/0', 'and no longer among the failed ones');
	sql('DROP TRIGGER row ON smartlead_events');
}

sub told
{
	my $listener = SmartleadSession->new($node);
	$listener->query('LISTEN smartlead_events');
	my $automation = sql(q{SET ROLE app; SELECT smartlead_automate('EMAIL_LINK_CLICK', 'pause_lead',
		'{"campaign_id": "$campaign_id", "lead_id": "$lead_id"}', connection => 'hooks')});
	my $click = event(event_type => 'EMAIL_LINK_CLICK', lead_id => 5 + $number);
	is(send_event($url, $click), 200, 'a click');
	my $id = sql('SELECT id FROM smartlead_events');
	my ($said) = $listener->query('SELECT 1') =~ /with payload "(.*?)" received/;
	is_deeply(JSON::PP->new->decode($said), { id => $id, type => 'EMAIL_LINK_CLICK' }, 'its notification');
	is(sql("SELECT args->>'lead_id' FROM smartlead_queue WHERE (args->>'lead_id')::bigint = $click->{lead_id}"), $click->{lead_id}, 'what the automation enqueued');
	is(send_event($url, $click), 200, 'the click again');
	is(sql("SELECT count(*) FROM smartlead_queue WHERE (args->>'lead_id')::bigint = $click->{lead_id}"), 1, 'causes nothing');
	sql('DELETE FROM smartlead_automations; DELETE FROM smartlead_queue');
	$listener->quit;
}

sub reading
{
	my $position = sql('SELECT coalesce(max(id), 0) FROM smartlead_event_keys JOIN LATERAL (SELECT event_id AS id) x ON true');
	is(send_at_once($url, map { event(campaign_id => 1 + $_ % 2) } 1 .. 6), join(' ', (200) x 6), 'six events');
	is(sql("SET ROLE app; SELECT count(*), min(id) > $position FROM smartlead_new_events($position)"), '6|t', 'are new');
	my @ids = split /\n/, sql("SET ROLE app; SELECT id FROM smartlead_new_events($position, 4)");
	is(scalar @ids, 4, 'as many as were asked for');
	is("@ids", join(' ', sort { $a <=> $b } @ids), 'in order');
	is(sql("SET ROLE app; SELECT count(*) FROM smartlead_new_events($ids[-1])"), 2, 'and then the others');
	my $seen = $table->{name} eq 'own' ? 3 : 0;
	is(sql('SET ROLE reader; SELECT count(*) FROM smartlead_events'), $seen, 'a role sees what row security shows it');
	is(sql("SET ROLE reader; SELECT count(*) FROM smartlead_new_events($position)"), $seen, 'when it reads on, too');
}

# Nothing has to be stopped for any of these.
sub changed
{
	sql(q{ALTER TABLE smartlead_events ADD late text DEFAULT 'late'; CREATE INDEX ON smartlead_events (subject)});
	is(send_event($url, event()), 200, 'with one more column and index');
	is(sql(q{SELECT late FROM smartlead_events}), 'late', 'which has its default');
	sql('ALTER TABLE smartlead_events DROP late');
	is(send_event($url, event()), 200, 'without the column');
	sql('ALTER TABLE smartlead_events RENAME subject TO topic');
	is(send_event($url, event()), 503, 'a column that is missing');
	like(sql(q{SELECT trouble FROM smartlead_workers WHERE worker = 'receiver'}), qr/subject/, 'is told');
	sql('ALTER TABLE smartlead_events RENAME topic TO subject');
	is(send_event($url, event()), 200, 'is mended');
	is(event_counts($node), '3/0', 'and three have arrived');
	is(sql(q{SELECT trouble FROM smartlead_workers WHERE worker = 'receiver'}), '', 'without trouble any more');
}

sub renamed
{
	is(send_event($url, event()), 200, 'an event');
	sql('ALTER SERVER hooks RENAME TO hooks2');
	is(sql('SELECT connection FROM smartlead_events'), 'hooks2', 'has the name that its connection got');
	sql('ALTER SERVER hooks2 RENAME TO hooks');
	is(sql('SELECT connection FROM smartlead_events'), 'hooks', 'and gets it back');
}

for my $kind (@tables)
{
	$table = $kind;
	$number = 0;
	if ($table->{name} eq 'daily' && !has_partman($node))
	{
		note 'not with partitions: pg_partman is not installed';
		next;
	}
	sql('DROP TABLE IF EXISTS smartlead_events');
	$table->{make}->();
	for my $part (
		[ 'it arrives', \&it_arrives ],
		[ 'once', \&once ],
		[ 'triggers', \&triggers ],
		[ 'told', \&told ],
		[ 'reading on', \&reading ],
		[ 'changed', \&changed ],
		[ 'renamed', \&renamed ])
	{
		forget();
		subtest "$table->{name}: $part->[0]" => $part->[1];
	}
}

# And it stays where the extension goes.
my $before = sql('SELECT count(*) FROM smartlead_events');
cmp_ok($before, '>', 0, 'there are events');
sql('DROP EXTENSION smartlead CASCADE');
is(sql('SELECT count(*) FROM smartlead_events'), $before, 'DROP EXTENSION leaves them');
my $last = sql('SELECT max(id) FROM smartlead_events');
sql('CREATE EXTENSION smartlead');
make_connection($node, 'postgres');
$url = webhook_url($node);
receiver_listens($port);
is(send_event($url, event()), 200, 'an event, after the extension was created again');
is(sql("SELECT id > $last FROM smartlead_events ORDER BY id DESC LIMIT 1"), 't', 'goes into the same table, with a higher id');

$node->stop;
done_testing();
