# How events get into their table: as by one INSERT for those that arrive together, each once, the payload
# as the server itself would read it, and answered however long that takes.
use strict;
use warnings;

use IO::Socket::INET;
use JSON::PP;
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use SmartleadTest;
use WebhookTest;

my ($node, $port) = webhook_node('inserting', settings => "smartlead.idle_timeout = 1\nsmartlead.request_timeout = 1\n"
	  . "smartlead.trigger_timeout = '2500ms'");
my $url = webhook_url($node);
ids_by_hand($node);
my ($path) = $url =~ m{^http://[^/]+(/.*)$};

my $number = 0;
sub event
{
	my (%more) = @_;
	$number++;
	return { event_type => 'EMAIL_OPEN', stats_id => "s$number", lead_email => 'ada@clinic.example',
		campaign_id => 1, event_timestamp => '2026-03-03T09:00:00Z', %more };
}

sub sql
{
	return $node->safe_psql('postgres', $_[0]);
}

sub forget
{
	sql('DELETE FROM smartlead_failed_events; DELETE FROM smartlead_events; DELETE FROM smartlead_event_keys');
	return;
}

# Something in the receiver's way for so many seconds, so that what arrives meanwhile is stored together.
sub while_busy
{
	my ($seconds, $do) = @_;
	my ($in, $out) = ('', '');
	my $session = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres') ], '<', \$in, '>', \$out,
		IPC::Run::timer(60));
	$in .= "BEGIN; LOCK smartlead_events; SELECT 'locked'; SELECT pg_sleep($seconds); COMMIT;\n\\q\n";
	$session->pump until $out =~ /locked/;
	my $result = $do->();
	$session->finish;
	return $result;
}

sql(q{
	CREATE SCHEMA work;
	GRANT ALL ON SCHEMA work TO app;
	CREATE TABLE work.seen (what text, n bigint);
	ALTER TABLE work.seen OWNER TO app;
	SET ROLE app;
	CREATE FUNCTION work.before() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		INSERT INTO work.seen VALUES ('before', 0); RETURN NULL; END $$;
	CREATE FUNCTION work.after() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		INSERT INTO work.seen SELECT 'after', count(*) FROM new_events; RETURN NULL; END $$;
	CREATE FUNCTION work.change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		IF NEW.subject = 'drop' THEN RETURN NULL; END IF;
		NEW.subject := upper(NEW.subject); RETURN NEW; END $$;});

# Triggers of statements
sql(q{SET ROLE app;
	CREATE TRIGGER before BEFORE INSERT ON smartlead_events FOR EACH STATEMENT EXECUTE FUNCTION work.before();
	CREATE TRIGGER after AFTER INSERT ON smartlead_events REFERENCING NEW TABLE AS new_events
		FOR EACH STATEMENT EXECUTE FUNCTION work.after();});
is(while_busy(1, sub { send_at_once($url, map { event() } 1 .. 12) }), join(' ', (200) x 12), 'twelve events at once');
is(sql(q{SELECT sum(n) FROM work.seen WHERE what = 'after'}), 12, 'a trigger on the statement sees all of them');
cmp_ok(sql(q{SELECT max(n) FROM work.seen WHERE what = 'after'}), '>', 1, 'several at once');
is(sql(q{SELECT count(*) FILTER (WHERE what = 'before') = count(*) FILTER (WHERE what = 'after') FROM work.seen}), 't',
	'and so often as one before it');
sql('DROP TRIGGER before ON smartlead_events; DROP TRIGGER after ON smartlead_events');

# Triggers that change and drop events
forget();
sql('SET ROLE app; CREATE TRIGGER change BEFORE INSERT ON smartlead_events FOR EACH ROW EXECUTE FUNCTION work.change();');
my ($listen_in, $listen_out) = ('', '');
my $listener = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres') ], '<', \$listen_in, '>', \$listen_out,
	IPC::Run::timer(60));
$listen_in .= "LISTEN smartlead_events; SELECT 'listening';\n";
$listener->pump until $listen_out =~ /listening/;
is(send_at_once($url, event(subject => 'drop'), event(subject => 'keep')), '200 200', 'a trigger drops one of two');
is(sql('SELECT subject FROM smartlead_events'), 'KEEP', 'and changes the other one');
is(event_counts($node), '1/0', 'the dropped one is nowhere');
my $id = sql('SELECT id FROM smartlead_events');
$listen_in .= "SELECT 'done';\n\\q\n";
$listener->finish;
my @notified = $listen_out =~ /with payload "(.*)" received/g;
is(scalar @notified, 1, 'one notification');
is_deeply(JSON::PP->new->decode($notified[0]),
	{ id => $id, type => 'EMAIL_OPEN' }, 'of the one that was stored');
sql('DROP TRIGGER change ON smartlead_events');

# Columns that users have added, constraints, row security
forget();
sql(q{ALTER TABLE smartlead_events ADD note text DEFAULT 'new', ADD seen_at timestamptz DEFAULT clock_timestamp(),
	ADD domain text GENERATED ALWAYS AS (split_part(lead_email, '@', 2)) STORED, ADD gone int DEFAULT 1;
	ALTER TABLE smartlead_events DROP gone;
	ALTER TABLE smartlead_events ADD CONSTRAINT polite CHECK (subject <> 'rude');});
is(send_at_once($url, event(subject => 'rude'), event(), event()), '200 200 200', 'a constraint refuses one of three');
is(sql(q{SELECT note, seen_at IS NOT NULL, domain FROM smartlead_events}), "new|t|clinic.example\nnew|t|clinic.example",
	'the others have the defaults of added columns');
like(sql(q{SELECT sqlstate || error FROM smartlead_failed_events}),
	qr/^23514new row for relation "smartlead_events" violates check constraint "polite"/, 'the error tells which');
unlike(sql('SELECT error FROM smartlead_failed_events'), qr/unnest/, 'and not by which statement it was inserted');
sql(q{ALTER TABLE smartlead_events DROP CONSTRAINT polite; ALTER TABLE smartlead_events DROP note, DROP seen_at, DROP domain;
	ALTER TABLE smartlead_events FORCE ROW LEVEL SECURITY; ALTER POLICY administrators ON smartlead_events USING (false);
	ALTER POLICY usable_connections ON smartlead_events USING (false)});
is(send_event($url, event(subject => 'hidden')), 200, 'with row security that lets nobody write');
is(event_counts($node), '2/2', 'an event is put aside');
is(sql(q{SELECT string_agg(sqlstate, ' ' ORDER BY id) FROM smartlead_failed_events}), '23514 42501', 'for that reason');
sql('CREATE POLICY arrival ON smartlead_events FOR INSERT WITH CHECK (true)');
is(send_at_once($url, event(), event()), '200 200', 'with a policy that lets write');
is(event_counts($node), '4/2', 'events arrive');
is(sql(q{SET ROLE app; SELECT count(*) FROM smartlead_events}), 0, 'though nobody may read them yet');
sql('DROP POLICY arrival ON smartlead_events; ALTER TABLE smartlead_events DISABLE ROW LEVEL SECURITY');
sql('CREATE RULE nothing AS ON INSERT TO smartlead_events DO INSTEAD NOTHING');
is(send_event($url, event()), 503, 'a rule would take them away');
like(sql(q{SELECT trouble FROM smartlead_workers WHERE worker = 'receiver'}), qr/can't hold events\. It has a rule on INSERT/, 'which is told');
sql('DROP RULE nothing ON smartlead_events');
ok(wait_until(sub { send_event($url, event()) == 200 }, '200'), 'without it, they arrive again');
is(sql(q{SELECT trouble IS NULL FROM smartlead_workers WHERE worker = 'receiver'}), 't', 'without trouble');

# A table that somebody has changed
forget();
sql('ALTER TABLE smartlead_events ALTER sequence_number TYPE bigint');
my $early = event();
is(send_event($url, $early), 503, 'R12: a column of another type: the event shall come again');
is(event_counts($node), '0/0', 'R12: it is nowhere');
ok(log_has($node, qr/can't hold events\n.*DETAIL:  Column "sequence_number" is of type bigint instead of integer/), 'R12: the log tells the reason');
sql('ALTER TABLE smartlead_events ALTER sequence_number TYPE integer');
ok(wait_until(sub { send_event($url, $early) == 200 }, '200'), 'R12: and stored when it is mended');

# Retrying what is there already, though the caller may not see it
forget();
my $known = event();
is(send_event($url, $known), 200, 'an event');
sql(q{INSERT INTO smartlead_failed_events (received_at, connection, webhook, payload, sqlstate, error)
	SELECT received_at, connection, webhook, payload, 'XX000', 'made up' FROM smartlead_events;
	ALTER TABLE smartlead_events ENABLE ROW LEVEL SECURITY;});
is(sql('SET ROLE app; SELECT smartlead_retry_event(id) IS NULL FROM smartlead_failed_events'), 't', 'is there already');
is(event_counts($node), '1/0', 'and not among the failed ones any more');
sql('ALTER TABLE smartlead_events DISABLE ROW LEVEL SECURITY');

# What a trigger sees of the events before its own, in one body
forget();
sql(q{SET ROLE app;
	CREATE FUNCTION work.n_before() RETURNS bigint STABLE LANGUAGE sql AS 'SELECT count(*) FROM public.smartlead_events';
	CREATE FUNCTION work.count_before() RETURNS trigger STABLE LANGUAGE plpgsql AS $$ BEGIN
		NEW.subject := work.n_before(); RETURN NEW; END $$;
	CREATE TRIGGER count_before BEFORE INSERT ON smartlead_events FOR EACH ROW EXECUTE FUNCTION work.count_before();});
is(send_body($url, '[' . join(',', map { qq({"event_type":"CAMPAIGN_STATUS_CHANGED","campaign_id":7,"campaign_status":"$_"}) }
			  'DRAFTED', 'ACTIVE', 'PAUSED') . ']'), 200, 'three changes, each a statement of its own');
is(sql('SELECT string_agg(subject, $$ $$ ORDER BY id) FROM smartlead_events'), '0 1 2', 'each sees those before it');
sql('DROP TRIGGER count_before ON smartlead_events');

# Whose fault it is: a trigger that violates a unique constraint of the table, and one that is cut off
# while the event behind it is being read
forget();
sql(q{SET ROLE app;
	CREATE FUNCTION work.derive() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		IF NEW.subject = 'derive' THEN
			INSERT INTO public.smartlead_events (id, connection, fingerprint, event_at, payload) OVERRIDING SYSTEM VALUE
			VALUES (-4711, 'derived', gen_random_uuid(), now(), '{}');
		END IF;
		RETURN NULL; END $$;
	CREATE FUNCTION work.sleep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		IF NEW.subject = 'sleep' THEN PERFORM pg_sleep(60); END IF;
		RETURN NULL; END $$;
	CREATE TRIGGER derive AFTER INSERT ON smartlead_events FOR EACH ROW EXECUTE FUNCTION work.derive();
	CREATE TRIGGER sleep AFTER INSERT ON smartlead_events FOR EACH ROW EXECUTE FUNCTION work.sleep();});
is(send_event($url, event(subject => 'derive')), 200, "a trigger's own row: number $_") for 1 .. 3;
is(event_counts($node), '2/2', 'the two that failed are no repetitions');
is(sql('SELECT DISTINCT sqlstate FROM smartlead_failed_events'), '23505', 'but failed');
forget();
is(send_body($url, JSON::PP->new->encode([ event(subject => 'sleep'),
		{ event_type => 'CAMPAIGN_STATUS_CHANGED', campaign_id => 8, campaign_status => 'ACTIVE' } ])), 200,
	'one that sleeps, and one behind it');
is(sql(q{SELECT event_type || ' ' || sqlstate FROM smartlead_failed_events}), 'EMAIL_OPEN 57014', 'the sleeper has failed');
is(sql('SELECT kind FROM smartlead_events'), 'CAMPAIGN_STATUS_CHANGED', 'the other one is stored');
sql('DROP TRIGGER derive ON smartlead_events; DROP TRIGGER sleep ON smartlead_events');

# Repetitions among new ones
forget();
my @known = map { event() } 1 .. 3;
is(send_at_once($url, @known), '200 200 200', 'three events');
is(while_busy(1, sub { send_at_once($url, event(), $known[0], event(), $known[1], $known[1], event(), $known[2]) }),
	join(' ', (200) x 7), 'the same three among new ones');
is(event_counts($node), '6/0', 'each is stored once');
my $twice = event();
is(while_busy(1, sub { send_at_once($url, $twice, $twice, $twice) }), '200 200 200', 'a new one three times at once');
is(event_counts($node), '7/0', 'is stored once');
my $named = event();
is(send_event($url, $named, { 'X-Request-Id' => 'r1' }), 200, 'a request with an id');
is(send_event($url, event(), { 'X-Request-Id' => 'r1' }), 200, 'its id with another event');
is(event_counts($node), '9/0', 'is another event');
is(send_event($url, $named, { 'X-Request-Id' => 'r2' }), 200, 'the event with another id');
is(event_counts($node), '9/0', 'is a repetition');
is(stat_of($node, 'stored') + stat_of($node, 'duplicates') + stat_of($node, 'failed'), stat_of($node, 'received'),
	'the counters add up');

# What happens at about the same time lies close together in the index of fingerprints
forget();
my @times = map { sprintf '2026-%02d-11T%02d:00:00.%03dZ', 12 - $_ % 12, $_ % 24, $_ } 1 .. 30;
is(send_event($url, event(event_timestamp => $_)), 200, "an event of $_") for @times;
is(sql('SELECT string_agg(event_at::text, chr(10) ORDER BY fingerprint) = string_agg(event_at::text, chr(10) ORDER BY event_at)
	FROM smartlead_events'), 't', 'fingerprints are in the order of events');

# The same event to several receivers at the same time
forget();
sql('ALTER SYSTEM SET smartlead.receivers = 3');
$node->reload;
ok(wait_until(sub { sql(q{SELECT count(*) FROM smartlead_workers WHERE worker = 'receiver' AND state = 'running'}) == 3 },
		'three receivers'), 'three receivers');
my $before = stat_of($node, 'duplicates');
for (1 .. 10)
{
	my ($same, $other) = (event(), event());
	is(send_at_once($url, ($same) x 6, ($other) x 6), join(' ', (200) x 12), 'two events, six times each');
}
is(event_counts($node), '20/0', 'each is stored once');
is(stat_of($node, 'duplicates') - $before, 100, 'the others are counted as duplicates');
cmp_ok(sql('SELECT count(*) FROM smartlead_stat_receiver WHERE duplicates > 0'), '>', 1, 'of several receivers');
sql('ALTER SYSTEM RESET smartlead.receivers');
$node->reload;
ok(wait_until(sub { sql(q{SELECT count(*) FROM smartlead_workers WHERE worker = 'receiver' AND state = 'running'}) == 1 },
		'one receiver'), 'one receiver again');
ok(receiver_listens($port), 'that listens');

# Long waits: the clients' limits are shorter, though never shorter than that of a trigger
forget();
sql(q{SET ROLE app; CREATE FUNCTION work.slow() RETURNS trigger LANGUAGE plpgsql AS
	'BEGIN PERFORM pg_sleep(1.5); RETURN NULL; END';
	CREATE TRIGGER slow AFTER INSERT ON smartlead_events FOR EACH ROW EXECUTE FUNCTION work.slow();});
is(send_at_once($url, map { event() } 1 .. 9), join(' ', (200) x 9), 'events are answered that wait longer than clients may');
is(event_counts($node), '9/0', 'once they are stored');

# Clients that don't wait for their answers
my @sockets;
my $requests = stat_of($node, 'requests');
for my $i (1 .. 5)
{
	my $body = JSON::PP->new->encode(event(subject => 'left alone'));
	my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port) or die "no connection: $!";
	$socket->print("POST $path HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: "
		  . length($body) . "\r\n\r\n$body");
	$socket->flush;
	push @sockets, $socket;
}
ok(wait_until(sub { stat_of($node, 'requests') == $requests + 5 }, 'the requests'), 'five requests are read');
setsockopt $_, Socket::SOL_SOCKET(), Socket::SO_LINGER(), pack('ii', 1, 0) for @sockets; # ends with a reset
close $_ for @sockets;
ok(wait_until(sub { sql(q{SELECT count(*) FROM smartlead_events WHERE subject = 'left alone'}) == 5 }, 'the five events'),
	'whose clients are gone are stored');
is(send_event($url, event()), 200, 'the receiver goes on');
sql('DROP TRIGGER slow ON smartlead_events');

# Settings that change while requests wait: their connections are answered like others
forget();
sql(q{SET ROLE app; CREATE OR REPLACE FUNCTION work.slow() RETURNS trigger LANGUAGE plpgsql AS
	'BEGIN PERFORM pg_sleep(0.3); RETURN NULL; END';
	CREATE TRIGGER slow AFTER INSERT ON smartlead_events FOR EACH ROW EXECUTE FUNCTION work.slow();});
# No time limit of the clients' shall be in the way of a slow machine.
my $listened = () = slurp_file($node->logfile) =~ /smartlead receives webhooks on/g;
sql("ALTER SYSTEM SET smartlead.idle_timeout = '1h'");
sql("ALTER SYSTEM SET smartlead.request_timeout = '1h'");
$node->reload;
ok(wait_until(sub { (() = slurp_file($node->logfile) =~ /smartlead receives webhooks on/g) > $listened }, 'the new limits'),
	'longer limits are in force');
my $pid = receiver_pid($node);
my $reloader = fork // die;
if ($reloader == 0)
{
	for my $limit (1999, 1998)
	{
		select undef, undef, undef, 1.5;
		system 'psql', '-Xq', '-d', $node->connstr('postgres'), '-c', "ALTER SYSTEM SET smartlead.max_connections = $limit",
		  '-c', 'SELECT pg_reload_conf()', '-o', '/dev/null';
	}
	POSIX::_exit(0);
}
is(send_at_once($url, map { event() } 1 .. 40), join(' ', (200) x 40), 'review: forty clients are answered, whatever is reloaded meanwhile');
waitpid $reloader, 0;
is(event_counts($node), '40/0', 'and their events are stored');
is(receiver_pid($node), $pid, 'by the same receiver');
is($node->safe_psql('postgres', 'SHOW smartlead.max_connections'), 1998, 'which has other limits now');

# A long body among slow batches
my @small = map {
	my $child = fork // die;
	if ($child == 0)
	{
		my $n = 0;
		send_event($url, { %{ event() }, stats_id => "small $$ " . $n++ }) while $n < 30 && getppid() != 1;
		POSIX::_exit(0);
	}
	$child;
} 1 .. 3;
is(send_event($url, event(subject => 'long', text => 'x' x 4_000_000)), 200, 'a long body is read among slow batches');
kill 'TERM', @small;
waitpid $_, 0 for @small;
is(sql(q{SELECT count(*) FROM smartlead_events WHERE subject = 'long'}), 1, 'and stored');
sql('DROP TRIGGER slow ON smartlead_events');
ok(receiver_listens($port), 'the receiver goes on');

# Payloads as the server itself reads them
forget();
my @values = (
	'0', '-0', '1', '-1', '12345678901234567', '999999999999999999', '-999999999999999999', '9223372036854775808',
	'123456789012345678901234567890', '1.0', '-1.50', '1e3', '1E-3', '-1.25e+2', '0.1', 'true', 'false', 'null', '""',
	'"a\\"b\\\\c\\/d\\b\\f\\n\\r\\t"', '"\\u00e9\\u20ac\\ud83d\\ude00"', "\"\xc3\xa9\"", '[]', '{}', '[[],{},[1,[2,[3]]]]',
	'{"b":1,"a":2,"aa":3,"b":{"z":1,"y":[1,2,{"x":null}]}}', '{"a":1,"a":2,"a":3}', '{"":1,"\\u0061":2,"a":3}',
	'[' . join(',', 1 .. 300) . ']', '{' . join(',', map { qq("k$_":{"v":[$_]}) } reverse 1 .. 300) . '}',
	'{' . join(',', map { '"k' . $_ % 40 . qq(":$_) } 1 .. 300) . '}');
for my $value (@values)
{
	my $body = qq( { "event_type" : "TRIED" , "value" :\n\t$value , "n" : ) . ++$number . ' }';
	is(send_body($url, $body), 200, 'a value: ' . substr $value, 0, 40);
	(my $literal = $body) =~ s/'/''/g;
	is(sql("SELECT payload = '$literal'::jsonb AND payload::text = '$literal'::jsonb::text AND jsonb_hash(payload) = jsonb_hash('$literal')"
			  . ' FROM smartlead_events ORDER BY id DESC LIMIT 1'), 't', 'as the server reads it');
}
is(sql(q{SELECT bool_and(payload->'value' = (payload::text::jsonb)->'value') FROM smartlead_events}), 't', 'and finds it');
is(sql(q{SELECT count(*) FROM smartlead_events, jsonb_object_keys(payload->'value') AS k(key)
	WHERE jsonb_typeof(payload->'value') = 'object' AND payload->'value'->key IS NULL}), 0, 'members too');
is(send_body($url, $_), 200, "a body that is no object: $_") for '7', '"text"', 'null', '[]', '[3,[4]]';
is(sql(q{SELECT string_agg(payload::text, ' ' ORDER BY id) FROM (SELECT id, payload FROM smartlead_events ORDER BY id DESC LIMIT 5) AS last}),
	'7 "text" null 3 [4]', 'is kept as well');

# The extension goes while requests wait
forget();
sql(q{SET ROLE app; CREATE TRIGGER slow AFTER INSERT ON smartlead_events FOR EACH ROW EXECUTE FUNCTION work.slow();});
my $dropper = fork // die;
if ($dropper == 0)
{
	select undef, undef, undef, 1;
	system 'psql', '-Xq', '-d', $node->connstr('postgres'), '-c', 'SET client_min_messages = error; DROP EXTENSION smartlead CASCADE';
	POSIX::_exit(0);
}
my @statuses = split / /, send_at_once($url, map { event() } 1 .. 20);
waitpid $dropper, 0;
is(scalar(grep { $_ == 200 || $_ == 503 || $_ == 404 || $_ == 599 } @statuses), 20, 'the extension is dropped while requests wait');
cmp_ok(scalar(grep { $_ == 200 } @statuses), '<', 20, 'which not all of them survive');
unlike(slurp_file($node->logfile), qr/terminated by signal/, 'but all processes do');

$node->stop;
done_testing();
