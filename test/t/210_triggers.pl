# Users' triggers on smartlead_events: those that fail, that take for ever, and that mean harm.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

use SmartleadTest;
use WebhookTest;

my ($node, $port) = webhook_node('triggers', settings => "smartlead.trigger_timeout = '700ms'\nlog_min_messages = log");
my $url = webhook_url($node);

my $number = 0;
sub event
{
	my ($mark) = @_;
	$number++;
	return { event_type => 'EMAIL_OPEN', stats_id => "s$number", subject => $mark || 'plain',
		lead_email => 'ada@clinic.example', campaign_id => 1, event_timestamp => '2026-03-03T09:00:00Z' };
}

sub as_owner
{
	return $node->safe_psql('postgres', "SET ROLE app; $_[0]");
}

sub trigger_function
{
	my ($name, $body, $owner) = @_;
	$owner ||= 'app';
	return "SET ROLE $owner; CREATE OR REPLACE FUNCTION work.$name() RETURNS trigger LANGUAGE plpgsql AS \$\$ BEGIN $body RETURN NEW; END \$\$; RESET ROLE;";
}

$node->safe_psql('postgres', q{
	CREATE SCHEMA work;
	CREATE ROLE hostile LOGIN;
	GRANT ALL ON SCHEMA work TO app, hostile;
	GRANT TRIGGER ON smartlead_events TO hostile;
	CREATE TABLE work.seen (id bigint, who text, path text);
	ALTER TABLE work.seen OWNER TO app;
	CREATE TABLE work.secret (x int);});

# Who runs a trigger, and where
$node->safe_psql('postgres', trigger_function('see', q{INSERT INTO work.seen VALUES (NEW.id, current_user, current_setting('search_path'));})
	  . 'SET ROLE app; CREATE TRIGGER see AFTER INSERT ON smartlead_events FOR EACH ROW EXECUTE FUNCTION work.see();');
is(send_event($url, event()), 200, 'an event with a trigger');
is(as_owner('SELECT who, path FROM work.seen'), 'app|pg_catalog, pg_temp', 'the trigger runs as the subscriber');

# One of ten fails
$node->safe_psql('postgres', trigger_function('fail', q{IF NEW.subject = 'fail' THEN RAISE EXCEPTION 'no % here', NEW.subject USING HINT = 'do better'; END IF;})
	  . 'SET ROLE app; CREATE TRIGGER fail BEFORE INSERT ON smartlead_events FOR EACH ROW EXECUTE FUNCTION work.fail();');
$node->safe_psql('postgres', 'DELETE FROM smartlead_events');
my $statuses = send_at_once($url, map { event($_ % 10 == 5 ? 'fail' : 'plain') } 1 .. 40);
is($statuses, join(' ', (200) x 40), 'forty at once, one of ten fails: all are answered');
is(event_counts($node), '36/4', 'nine of ten are stored, the tenth is among the failed ones');
is($node->safe_psql('postgres', q{SELECT DISTINCT sqlstate || ' ' || split_part(error, 'CONTEXT', 1) || (payload->>'subject') FROM smartlead_failed_events}),
	"P0001 no fail here\nHINT:  do better\nfail", 'with the error');
is(as_owner('SELECT count(*) FROM work.seen'), 37, 'and nothing done twice');

# Trying again
my ($failed) = split /\n/, $node->safe_psql('postgres', 'SELECT id FROM smartlead_failed_events ORDER BY id');
my ($code, $out, $err) = $node->psql('postgres', "SET ROLE app; SELECT smartlead_retry_event($failed)");
like($err, qr/no fail here/, 'it fails again, and says so');
is(event_counts($node), '36/4', 'and stays');
$node->safe_psql('postgres', 'DROP TRIGGER fail ON smartlead_events');
like(as_owner("SELECT smartlead_retry_event($failed)"), qr/^\d+$/, 'it is stored when nothing is in its way');
is(event_counts($node), '37/3', 'and no more among the failed ones');
($code, $out, $err) = $node->psql('postgres', "SET ROLE app; SELECT smartlead_retry_event($failed)");
like($err, qr/there is no failed event/, 'only once');
$node->safe_psql('postgres', 'DELETE FROM smartlead_failed_events; DELETE FROM smartlead_events');

# One that takes for ever
$node->safe_psql('postgres', trigger_function('sleep', q{IF NEW.subject = 'sleep' THEN PERFORM pg_sleep(3600); END IF;})
	  . 'SET ROLE app; CREATE TRIGGER sleep AFTER INSERT ON smartlead_events FOR EACH ROW EXECUTE FUNCTION work.sleep();');
my $start = time;
$statuses = send_at_once($url, map { event($_ == 3 ? 'sleep' : 'plain') } 1 .. 10);
is($statuses, join(' ', (200) x 10), 'ten at once, one sleeps for ever: all are answered');
note sprintf 'after %.1f s', time - $start;
is(event_counts($node), '9/1', 'the sleeper is among the failed ones');
is($node->safe_psql('postgres', 'SELECT sqlstate FROM smartlead_failed_events'), '57014', 'as cancelled');
my $pid = receiver_pid($node);
is(send_event($url, event()), 200, 'the receiver goes on');
is(receiver_pid($node), $pid, 'the same one');

# One that catches the cancellation and goes on
$node->safe_psql('postgres', 'DELETE FROM smartlead_failed_events; DELETE FROM smartlead_events');
$node->safe_psql('postgres', trigger_function('sleep', q{
	IF NEW.subject = 'stubborn' THEN
		LOOP BEGIN PERFORM pg_sleep(3600); EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP;
	END IF;}));
my $stubborn = event('stubborn');
my $plain = event();
my $tries = 0;
$start = time;
ok(wait_until(sub { $tries++; send_event($url, $stubborn) == 200 }, 'an answer to the stubborn one'),
	'a trigger that will not be cancelled: answered when the sender tries again');
note "after $tries tries and " . (time - $start) . ' s';
is(send_event($url, $plain), 200, 'others are stored');
is(event_counts($node), '1/1', 'the stubborn one is among the failed ones');
like($node->safe_psql('postgres', 'SELECT error FROM smartlead_failed_events'), qr/could not be canceled/, 'with the reason');
$node->safe_psql('postgres', 'DROP TRIGGER sleep ON smartlead_events; DELETE FROM smartlead_failed_events; DELETE FROM smartlead_events');

# Constraint triggers that wait for the end of the transaction run at once
$node->safe_psql('postgres', trigger_function('late', q{INSERT INTO work.seen VALUES (-NEW.id, current_user, 'late');})
	  . q{CREATE CONSTRAINT TRIGGER late AFTER INSERT ON smartlead_events DEFERRABLE INITIALLY DEFERRED
	FOR EACH ROW EXECUTE FUNCTION work.late();});
is(send_event($url, event()), 200, 'a deferred trigger');
is(as_owner(q{SELECT who FROM work.seen WHERE path = 'late'}), 'app', 'runs, as the subscriber');
$node->safe_psql('postgres', 'DROP TRIGGER late ON smartlead_events');

# A hostile trigger, of a role that holds nothing but TRIGGER on the table
# V6: the superuser need not be called postgres.
my $superuser = superuser($node);
my %harm = (
	'creates a superuser' => q{CREATE ROLE evil SUPERUSER;},
	'becomes the session user' => q{SET SESSION AUTHORIZATION DEFAULT; CREATE ROLE evil SUPERUSER;},
	'becomes nobody in particular' => q{RESET ROLE; CREATE ROLE evil SUPERUSER;},
	'becomes the superuser' => qq{PERFORM set_config('role', '$superuser', false); CREATE ROLE evil SUPERUSER;},
	'reads user mappings' => q{PERFORM umoptions FROM pg_catalog.pg_user_mapping;},
	'reads tokens' => q{PERFORM token_hash FROM public.smartlead_webhook_tokens;},
	'reads secrets' => q{PERFORM secret_key FROM public.smartlead_webhooks;},
	'writes tokens' => qq{INSERT INTO public.smartlead_webhooks (subscriber, connection, level) VALUES ('$superuser', 'x', 'user');},
	'reads a table of the superuser' => q{PERFORM x FROM work.secret;},
	'reads a file' => q{PERFORM pg_catalog.pg_read_file('postgresql.conf');},
	'runs a program' => q{COPY work.seen TO PROGRAM 'cat';},
	'makes a temporary function' => q{CREATE FUNCTION pg_temp.now() RETURNS timestamptz LANGUAGE sql AS 'SELECT 1';},
	'makes a temporary table' => q{CREATE TEMP TABLE smartlead_events (id int);},
	'commits' => q{COMMIT;},
	'defers a trigger' => q{SET CONSTRAINTS ALL DEFERRED; INSERT INTO work.deferred VALUES (1);},
	'turns triggers off' => q{SET session_replication_role = replica;},
);
$node->safe_psql('postgres', q{
	SET ROLE hostile;
	CREATE TABLE work.deferred (x int);
	CREATE FUNCTION work.escalate() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN CREATE ROLE evil SUPERUSER; RETURN NULL; END';
	CREATE CONSTRAINT TRIGGER escalate AFTER INSERT ON work.deferred DEFERRABLE INITIALLY DEFERRED
		FOR EACH ROW EXECUTE FUNCTION work.escalate();
	GRANT ALL ON work.deferred TO app;});
for my $what (sort keys %harm)
{
	$node->safe_psql('postgres', 'DELETE FROM smartlead_failed_events; DELETE FROM smartlead_events');
	$node->safe_psql('postgres', trigger_function('harm', "IF NEW.subject = 'harm' THEN $harm{$what} END IF;", 'hostile'));
	$node->safe_psql('postgres', 'SET ROLE hostile; CREATE TRIGGER harm AFTER INSERT ON smartlead_events FOR EACH ROW EXECUTE FUNCTION work.harm();');
	is(send_at_once($url, event(), event('harm'), event()), '200 200 200', "$what: answered");
	is(event_counts($node), '2/1', "$what: fails, and nothing else does");
	$node->safe_psql('postgres', 'DROP TRIGGER harm ON smartlead_events');
}
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_roles WHERE rolname = 'evil'}), 0, 'no superuser was made');
is(receiver_pid($node), receiver_pid($node), 'the receiver lives');

# What a trigger leaves behind is undone
$node->safe_psql('postgres', 'DELETE FROM smartlead_failed_events; DELETE FROM smartlead_events; DELETE FROM work.seen');
$node->safe_psql('postgres', trigger_function('harm', q{IF NEW.subject = 'harm' THEN
	PERFORM set_config('search_path', 'work, pg_catalog', false), set_config('statement_timeout', '1', false),
		set_config('default_transaction_read_only', 'on', false), set_config('work_mem', '64kB', false); END IF;}, 'hostile'));
$node->safe_psql('postgres', 'SET ROLE hostile; CREATE TRIGGER harm AFTER INSERT ON smartlead_events FOR EACH ROW EXECUTE FUNCTION work.harm();');
is(send_event($url, event('harm')), 200, 'a trigger that changes settings');
is(send_event($url, event()), 200, 'the next event');
is(event_counts($node), '2/0', 'both are stored');
is(as_owner('SELECT path FROM work.seen ORDER BY id DESC LIMIT 1'), 'pg_catalog, pg_temp', 'and the next one sees the settings as they were');
$node->safe_psql('postgres', 'DROP TRIGGER harm ON smartlead_events');

# A superuser's subscription doesn't give its rights to triggers
my $root_url = webhook_url($node, user => $superuser);
$node->safe_psql('postgres', 'GRANT USAGE ON SCHEMA work TO smartlead_admin; GRANT INSERT ON work.seen TO smartlead_admin');
is(send_event($root_url, event()), 200, q{a superuser's webhook});
is(as_owner('SELECT who FROM work.seen ORDER BY id DESC LIMIT 1'), 'smartlead_admin', 'runs as smartlead_admin');
$node->safe_psql('postgres', 'ALTER ROLE app SUPERUSER');
is(send_event($url, event()), 200, 'a role that has become a superuser');
is($node->safe_psql('postgres', 'SELECT who FROM work.seen ORDER BY id DESC LIMIT 1'), 'smartlead_admin', 'the same');
$node->safe_psql('postgres', 'ALTER ROLE app NOSUPERUSER');

# Roles that lost their rights, or are gone
$node->safe_psql('postgres', 'DELETE FROM smartlead_failed_events; DELETE FROM smartlead_events');
$node->safe_psql('postgres', 'REVOKE smartlead_admin FROM app');
is(send_event($url, event()), 200, 'a role that may insert no more');
is(event_counts($node), '0/1', 'its event is kept among the failed ones');
$node->safe_psql('postgres', 'GRANT smartlead_admin TO app; CREATE ROLE gone; GRANT smartlead_admin TO gone');
my $gone_url = webhook_url($node, user => 'gone');
$node->safe_psql('postgres', 'DROP ROLE gone');
is(send_event($gone_url, event()), 200, 'a role that is gone');
is(event_counts($node), '0/2', 'likewise');

# A locked table is the server's trouble, not the event's
$node->safe_psql('postgres', 'DELETE FROM smartlead_failed_events');
my ($in, $waiting) = ('', '');
my $session = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres') ], '<', \$in, '>', \$waiting, IPC::Run::timer(60));
$in .= "BEGIN; LOCK smartlead_events; SELECT 'locked';\n";
$session->pump until $waiting =~ /locked/;
is(send_event($url, event()), 503, 'somebody locks the table');
$in .= "COMMIT;\n\\q\n";
$session->finish;
is(send_event($url, event()), 200, 'later');
is(event_counts($node), '1/0', 'nothing counts as failed');

# Read-only
$node->safe_psql('postgres', q{ALTER SYSTEM SET default_transaction_read_only = on});
$node->reload;
ok(wait_until(sub { send_event($url, event()) == 503 }, '503'), 'read-only: come again');
is(http_request('GET', "http://127.0.0.1:$port/healthz")->{status}, 503, 'not healthy');
$node->safe_psql('postgres', q{SET default_transaction_read_only = off; ALTER SYSTEM RESET default_transaction_read_only;});
$node->reload;
ok(wait_until(sub { send_event($url, event()) == 200 }, '200'), 'writable again');
ok(receiver_listens($port), 'healthy again');
is($node->safe_psql('postgres', 'SELECT count(*) FROM smartlead_failed_events'), 0, 'nothing counts as failed');

$node->stop;
done_testing();
