# Who sees which events, and the two roles of the extension: found there already, renamed, removed.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use SmartleadSession;
use SmartleadTest;
use WebhookTest;

my ($node, $port) = webhook_node('roles');

sub as
{
	my ($role, $sql) = @_;
	return scalar $node->safe_psql('postgres', "SET ROLE $role; $sql");
}

sub sql_of
{
	my ($database, $sql) = @_;
	return scalar $node->safe_psql($database, $sql);
}

sub sqlstate_as
{
	my ($role, $sql) = @_;
	my ($code, $out, $err) = $node->psql('postgres', "\\set VERBOSITY sqlstate\nSET ROLE $role;\n$sql");
	return $err =~ /ERROR: +(\w{5})/ ? $1 : '00000';
}

sub event
{
	my ($mark, %more) = @_;
	return { event_type => 'EMAIL_REPLY', stats_id => $mark, subject => $mark, lead_email => 'ada@clinic.example',
		campaign_id => 1, event_timestamp => '2026-03-03T09:00:00Z', %more };
}

# ---- who sees which events ----

$node->safe_psql('postgres', q{
	CREATE SERVER other FOREIGN DATA WRAPPER smartlead OPTIONS (base_url 'http://127.0.0.1:9/api/v1');
	CREATE USER MAPPING FOR PUBLIC SERVER other OPTIONS (api_key 'unused');
	GRANT USAGE ON FOREIGN SERVER other TO app;
	CREATE ROLE reader LOGIN; CREATE ROLE twofold LOGIN; CREATE ROLE nobody LOGIN; CREATE ROLE reports LOGIN;
	GRANT smartlead_user TO reader, twofold, nobody;
	GRANT SELECT ON smartlead_events, smartlead_failed_events TO reports, reader;
	GRANT USAGE ON FOREIGN SERVER hooks TO reader, twofold, reports;
	GRANT USAGE ON FOREIGN SERVER other TO twofold;
	CREATE SCHEMA work; GRANT ALL ON SCHEMA work TO app;});
my $hooks = webhook_url($node);
ids_by_hand($node);
my $other = as('app', q{SELECT smartlead_webhook_url('other')});
is(send_event($hooks, event('to hooks')), 200, 'an event of one connection');
is(send_event($other, event('to other')), 200, 'and of another');
my $subjects = q{SELECT string_agg(subject, ', ' ORDER BY subject) FROM smartlead_events};
is(as('reader', $subjects), 'to hooks', 'S4: a reader sees the events of the connection that it has USAGE on');
is(as('twofold', $subjects), 'to hooks, to other', 'S4: of each of them');
is(as('nobody', $subjects), '', 'S4: without USAGE none');
is(as('reports', $subjects), 'to hooks', 'S4: nor does a grant on the table alone show more');
is(as('app', $subjects), 'to hooks, to other', 'S4: smartlead_admin sees all');
is($node->safe_psql('postgres', $subjects), 'to hooks, to other', 'S4: so does the owner');
$node->safe_psql('postgres', 'REVOKE USAGE ON FOREIGN SERVER hooks FROM reader');
is(as('reader', $subjects), '', 'S4: a revoked USAGE counts at once');
$node->safe_psql('postgres', 'GRANT USAGE ON FOREIGN SERVER hooks TO reader');

# Events that failed, likewise; a trigger that fails is the receiver's usual case of them.
as('app', q{CREATE FUNCTION work.fail() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''no''; END';
	CREATE TRIGGER fail BEFORE INSERT ON smartlead_events FOR EACH ROW WHEN (NEW.subject = 'bad') EXECUTE FUNCTION work.fail();});
is(send_event($_, event('bad', stats_id => "bad of $_")), 200, 'an event that fails') for $hooks, $other;
my $failed = 'SELECT count(*) FROM smartlead_failed_events';
is($node->safe_psql('postgres', $failed), 2, 'S4: what fails is kept, of both connections');
is(as('reader', $failed), 1, 'S4: of failed events, a reader sees those of its connections');
is(as('app', $failed), 2, 'S4: smartlead_admin sees all');

# Who may insert and delete may do so where it may read.
$node->safe_psql('postgres', 'GRANT INSERT, DELETE ON smartlead_events TO reader');
my $insert = q{INSERT INTO smartlead_events (connection, fingerprint, event_at, payload) VALUES ('%s', gen_random_uuid(), now(), '{}')};
is(sqlstate_as('reader', sprintf $insert, 'other'), '42501', 'S4: no event of a connection without USAGE is inserted by hand');
is(sqlstate_as('reader', sprintf $insert, 'hooks'), '00000', 'S4: with USAGE one is');
is(as('reader', 'WITH gone AS (DELETE FROM smartlead_events RETURNING connection) SELECT DISTINCT connection FROM gone'),
	'hooks', 'S4: nor is one deleted');
is($node->safe_psql('postgres', $subjects), 'to other', 'S4: which is there still');

# The connections are looked up once for a query, and an index serves as before.
as('app', q{INSERT INTO smartlead_events (connection, fingerprint, event_at, lead_email, payload)
	SELECT 'hooks', gen_random_uuid(), now(), 'lead' || i || '@x.example', '{}' FROM generate_series(1, 2000) i});
$node->safe_psql('postgres', 'CREATE INDEX of_lead ON smartlead_events (lead_email); ANALYZE smartlead_events');
my $plan = as('reader', q{EXPLAIN (ANALYZE, COSTS off, TIMING off, SUMMARY off) SELECT * FROM smartlead_events WHERE lead_email = 'lead77@x.example'});
like($plan, qr/Index Scan using of_lead/, 'S4: an index is of use under row security') or diag $plan;
like($plan, qr/InitPlan/, 'S4: the connections that count are looked up once');
unlike($plan, qr/SubPlan|loops=[2-9]/, 'S4: and not for each row');

# ---- renamed ----

$node->safe_psql('postgres', q{ALTER ROLE smartlead_admin RENAME TO "the boss"; ALTER ROLE smartlead_user RENAME TO "the staff"});
is(as('app', 'SELECT count(*) > 2000 FROM smartlead_events'), 't', 'S8: a renamed smartlead_admin sees all events');
is(as('twofold', 'SELECT count(*) > 2000 FROM smartlead_events'), 't', 'S8: a renamed smartlead_user sees its own');
my $job = as('twofold', q{SELECT smartlead_enqueue('pause_lead', '{"campaign_id":1,"lead_id":2}', now() + '1 day', 'hooks')});
is(as('app', 'SELECT count(*) FROM smartlead_queue'), 1, 'S8: all jobs');
is(as('app', 'SELECT sum(ready) FROM smartlead_stat_queue'), 1, 'S8: all of the statistics');
is(as('reader', 'SELECT sum(ready) FROM smartlead_stat_queue'), '', 'S8: and nobody else does');
is(as('app', "SELECT smartlead_cancel($job)"), 't', 'S8: and may cancel them');
is(send_event($hooks, event('bad', stats_id => 'bad again')), 200, 'S8: an event that fails is answered');
is($node->safe_psql('postgres', $failed), 3, 'S8: and kept');
my $superuser = $node->safe_psql('postgres', q{SELECT smartlead_webhook_url('hooks')});
as('app', q{CREATE FUNCTION work.who() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.subject := current_user; RETURN NEW; END';
	CREATE TRIGGER who BEFORE INSERT ON smartlead_events FOR EACH ROW WHEN (NEW.subject = 'who') EXECUTE FUNCTION work.who();
	GRANT USAGE ON SCHEMA work TO "the boss";});
is(send_event($superuser, event('who')), 200, 'S8: a webhook of a superuser');
is($node->safe_psql('postgres', q{SELECT subject FROM smartlead_events WHERE stats_id = 'who'}), 'the boss', 'S8: is served as the renamed smartlead_admin');

# It is looked up again once that changes which the receiver has found it by.
sub served_as
{
	my ($mark) = @_;
	is(send_event($superuser, event('who', stats_id => $mark)), 200, "an event $mark");
	return $node->safe_psql('postgres', "SELECT subject FROM smartlead_events WHERE stats_id = '$mark'");
}

sub policy
{
	my ($change) = @_;
	$node->safe_psql('postgres', join ';', map { $change =~ s/%/$_/r } qw(smartlead_events smartlead_failed_events));
}
$node->safe_psql('postgres', 'CREATE ROLE deputy; GRANT "the boss" TO deputy');
policy('ALTER POLICY administrators ON % TO deputy');
$node->safe_psql('postgres', 'ALTER TABLE smartlead_events OWNER TO deputy'); # whose table events are written into
is(served_as('after ALTER POLICY'), 'deputy', 'S8: so does the role that the policy is given to, from the next event on');
$node->safe_psql('postgres', 'ALTER ROLE deputy RENAME TO "the deputy"');
is(served_as('after a new name'), 'the deputy', 'S8: and by its new name');
policy('DROP POLICY administrators ON %');
$node->safe_psql('postgres', 'ALTER ROLE "the boss" RENAME TO smartlead_admin; ALTER TABLE smartlead_events OWNER TO smartlead_admin');
is(served_as('after DROP POLICY'), 'smartlead_admin', 'S8: without the policy it is who has the name');
policy('CREATE POLICY administrators ON % TO smartlead_admin USING (true) WITH CHECK (true)');
$node->safe_psql('postgres', 'ALTER ROLE smartlead_admin RENAME TO "the boss"; DROP ROLE "the deputy"');
is(served_as('after CREATE POLICY'), 'the boss', 'S8: with it again, by whatever name');

# ---- removed ----

# As docs/security.md tells it.
$node->append_conf('postgresql.conf', "smartlead.databases = ''");
$node->reload;
for my $sql ('DROP EXTENSION smartlead CASCADE',
	'DROP OWNED BY "the boss", "the staff"', 'DROP ROLE "the boss", "the staff"')
{
	my ($code, undef, $err) = $node->psql('postgres', $sql);
	is($code, 0, "S8: $sql") or diag $err;
}

# ---- found there already ----

sub create
{
	my ($code, undef, $err) = $node->psql('postgres', 'CREATE EXTENSION smartlead');
	return ($code, $err);
}

$node->safe_psql('postgres', 'CREATE ROLE smartlead_admin SUPERUSER');
my ($code, $said) = create();
isnt($code, 0, 'S8: a superuser named smartlead_admin is refused');
like($said, qr/ERROR:  role "smartlead_admin" exists already and is a superuser.*HINT:/s, 'S8: with what to do');
$node->safe_psql('postgres', 'ALTER ROLE smartlead_admin NOSUPERUSER LOGIN; CREATE ROLE eve; CREATE ROLE "odd one"; GRANT smartlead_admin TO eve, "odd one"; GRANT pg_monitor TO smartlead_admin');
($code, $said) = create();
is($code, 0, 'S8: another role of that name is taken');
like($said, qr/WARNING:  role "smartlead_admin" exists already/, 'S8: with a warning');
like($said, qr/DETAIL:  It may log in\. Its members: eve, "odd one"\. It is a member of: pg_monitor\./, 'S8: that tells what was found');
unlike($said, qr/role "smartlead_user"/, 'S8: of a role that was not there, none');
is($node->safe_psql('postgres', q{SELECT pg_has_role('eve', 'smartlead_user', 'MEMBER')}), 't', 'S8: smartlead_admin is a member of smartlead_user then');

# What we have made ourselves, in another database, is no cause for a warning.
$node->safe_psql('postgres', q{DROP EXTENSION smartlead; DROP OWNED BY smartlead_admin, smartlead_user; DROP ROLE smartlead_admin, smartlead_user});
is((create())[1], '', 'S8: made anew in silence');
$node->safe_psql('postgres', 'CREATE DATABASE second; GRANT smartlead_user TO eve');
my (undef, undef, $second) = $node->psql('second', 'CREATE EXTENSION smartlead');
unlike($second, qr/role "smartlead_admin"/, 'S8: in a second database, our own roles without members are no cause for a warning');
like($second, qr/WARNING:  role "smartlead_user" exists already.*DETAIL:  Its members: eve\..*HINT:  It was made by this extension/s, 'S8: but it is told who gets the use of it');

# ---- roles in a binary copy, and where a queue is at home ----

# By smartlead_role_send() and smartlead_role_recv(): by name, as in a dump.
my $file = PostgreSQL::Test::Utils::tempdir() . '/roles';
$node->safe_psql('postgres', qq{CREATE TABLE sent (who smartlead_role); INSERT INTO sent VALUES ('eve'), ('smartlead_admin');
	COPY sent TO '$file' (FORMAT binary)});
like(slurp_file($file), qr/eve.*smartlead_admin/s, 'a binary copy holds the names of roles');
is($node->safe_psql('postgres', qq{CREATE TABLE got (LIKE sent); COPY got FROM '$file' (FORMAT binary); SELECT string_agg(who::text, ' ') FROM got}),
	'eve smartlead_admin', 'by which they are found');
is(sql_of('postgres', 'SELECT count(*) FROM smartlead_queue_home WHERE home = smartlead_home()'), 1, 'a queue is at home where it was made');
isnt(sql_of('postgres', 'SELECT smartlead_home()'), sql_of('second', 'SELECT smartlead_home()'), "and another database's is at home elsewhere");

done_testing();
