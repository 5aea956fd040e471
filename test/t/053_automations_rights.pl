# Automations use their owners' keys: for whose events?
use strict;
use warnings;

use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use SmartleadTest;
use WebhookTest;

my ($node, $port) = webhook_node('rights');
ids_by_hand($node);

sub as
{
	my ($role, $sql) = @_;
	my ($code, $out, $err) = $node->psql('postgres', "SET ROLE $role;\n$sql");
	return wantarray ? ($out, $err) : $out;
}

# "boss" has a key for the connection "gold" and an automation; "eve" may insert events and put
# triggers on them, but has no right to "gold".
$node->safe_psql('postgres', q{
	CREATE SERVER gold FOREIGN DATA WRAPPER smartlead OPTIONS (base_url 'http://127.0.0.1:9/api/v1');
	CREATE ROLE boss LOGIN; CREATE ROLE eve LOGIN;
	GRANT smartlead_admin TO boss, eve;
	GRANT USAGE ON FOREIGN SERVER gold TO boss;
	CREATE USER MAPPING FOR boss SERVER gold OPTIONS (api_key 'key-of-boss');
	CREATE SCHEMA work; GRANT ALL ON SCHEMA work TO eve, boss;});
as('boss', q{SELECT smartlead_automate('EMAIL_REPLY', 'pause_lead', '{"campaign_id":1,"lead_id":"$lead_id"}')});

# Which leads' jobs there are on that connection.
sub leads
{
	return $node->safe_psql('postgres', q{SELECT string_agg(lead_id::text, ' ' ORDER BY lead_id) FROM smartlead_queue WHERE connection = 'gold' AND run_as = 'boss'::regrole});
}

sub row
{
	my ($lead, %more) = @_;
	my $connection = $more{connection} || 'gold';
	my $webhook = $more{webhook} || 'NULL';
	return qq{INSERT INTO public.smartlead_events (connection, webhook, fingerprint, event_type, kind, event_at, lead_id, payload)
		VALUES ('$connection', $webhook, gen_random_uuid(), 'EMAIL_REPLY', 'EMAIL_REPLY', now(), $lead, '{}');};
}

my $url = $node->safe_psql('postgres', q{SET ROLE boss; SELECT smartlead_webhook_url('gold')});
my $webhook = $node->safe_psql('postgres', 'SELECT max(id) FROM smartlead_webhooks');

as('eve', row(1));
is(leads(), '', 'S3: no automation acts for an event that somebody inserts');
is($node->safe_psql('postgres', 'SELECT count(*) FROM smartlead_events WHERE lead_id = 1'), 1, 'S3: the event itself is there');
as('eve', row(2, webhook => $webhook));
is(leads(), '', 'S3: nor when it claims to be of a webhook of that connection');

# Where the receiver stores for somebody who may not use "gold".
my $eves = $node->safe_psql('postgres', q{SET ROLE eve; SELECT smartlead_webhook_url('hooks')});
sub reply
{
	my ($lead) = @_;
	return { event_type => 'EMAIL_REPLY', stats_id => "s$lead", subject => 'x', sl_email_lead_id => $lead, lead_id => $lead,
		lead_email => "lead$lead\@clinic.example", campaign_id => 1, event_timestamp => '2026-03-03T09:00:00Z' };
}
as('eve', q{CREATE FUNCTION work.move() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.connection := 'gold'; RETURN NEW; END $$;
	CREATE TRIGGER move BEFORE INSERT ON smartlead_events FOR EACH ROW WHEN (NEW.connection = 'hooks') EXECUTE FUNCTION work.move();});
is(send_event($eves, reply(3)), 200, 'an event that a trigger moves to another connection');
is(leads(), '', 'S3: no automation acts for an event that a trigger has moved to another connection');
$node->safe_psql('postgres', 'DROP TRIGGER move ON smartlead_events');
as('eve', 'CREATE FUNCTION work.forge() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN ' . row('NEW.lead_id + 1') . ' RETURN NEW; END $$;');
for my $when (qw(BEFORE AFTER))
{
	as('eve', "CREATE TRIGGER forge $when INSERT ON smartlead_events FOR EACH ROW WHEN (NEW.connection = 'hooks') EXECUTE FUNCTION work.forge();");
	is(send_event($eves, reply($when eq 'BEFORE' ? 10 : 20)), 200, "an event whose $when trigger inserts another");
	is(leads(), '', "S3: no automation acts for what a $when trigger inserts on the way");
	is(scalar $node->safe_psql('postgres', q{DROP TRIGGER forge ON smartlead_events; SELECT count(*) FROM smartlead_events WHERE connection = 'gold' AND lead_id IN (11, 21)}), $when eq 'BEFORE' ? 1 : 2, 'which is there');
}
# With the number of the very event that is being stored.
as('eve', q{CREATE FUNCTION work.replace() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		INSERT INTO public.smartlead_events (id, connection, fingerprint, event_type, kind, event_at, lead_id, payload) OVERRIDING SYSTEM VALUE
		VALUES (NEW.id, 'gold', gen_random_uuid(), 'EMAIL_REPLY', 'EMAIL_REPLY', now(), 30, '{}'); RETURN NULL; END $$;
	CREATE TRIGGER replace BEFORE INSERT ON smartlead_events FOR EACH ROW WHEN (NEW.lead_email = 'lead29@clinic.example') EXECUTE FUNCTION work.replace();});
is(send_event($eves, reply(29)), 200, 'an event that a trigger replaces');
is(leads(), '', 'S3: nor for what takes the place of one');
is($node->safe_psql('postgres', q{DROP TRIGGER replace ON smartlead_events; SELECT count(*) FROM smartlead_events WHERE lead_id = 30}), 1, 'which is there');
# The same on the connection itself, by a function that runs as its owner.
as('eve', q{CREATE FUNCTION work.replace_as_eve() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
		INSERT INTO public.smartlead_events (id, connection, fingerprint, event_type, kind, event_at, lead_id, payload) OVERRIDING SYSTEM VALUE
		VALUES (NEW.id, 'gold', gen_random_uuid(), 'EMAIL_REPLY', 'EMAIL_REPLY', now(), 31, '{}'); RETURN NULL; END $$;
	CREATE TRIGGER replace BEFORE INSERT ON smartlead_events FOR EACH ROW WHEN (NEW.lead_email = 'lead39@clinic.example') EXECUTE FUNCTION work.replace_as_eve();});
is(send_event($url, reply(39)), 200, 'an event that a trigger replaces as somebody else');
is(leads(), '', 'S3: nor for what somebody else puts in the place of one');
is($node->safe_psql('postgres', q{DROP TRIGGER replace ON smartlead_events; SELECT count(*) FROM smartlead_events WHERE lead_id = 31}), 1, 'which is there');

# What failed can't be made up, to be tried again.
my ($out, $err) = as('eve', qq{INSERT INTO smartlead_failed_events (received_at, connection, webhook, payload, sqlstate, error)
	VALUES (now(), 'gold', $webhook, '{"event_type":"EMAIL_REPLY","lead_id":40}', 'XX000', 'x')});
like($err, qr/permission denied/, 'S3: nobody makes up failed events');

# Those that count.
is(send_event($url, reply(100)), 200, 'an event by a webhook of the connection');
is(leads(), '100', 'S3: automations act for what the receiver stores');
as('boss', row(101));
$node->safe_psql('postgres', row(102));
is(leads(), '100', 'S3: and for nothing else, whoever inserts it');
# A trigger that makes another kind of an event, and one that drops some of those that arrive together.
as('boss', q{CREATE FUNCTION work.change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		IF NEW.lead_id = 106 THEN RETURN NULL; END IF;
		NEW.kind := 'EMAIL_REPLY'; RETURN NEW; END $$;
	CREATE TRIGGER change BEFORE INSERT ON smartlead_events FOR EACH ROW EXECUTE FUNCTION work.change();});
is(send_body($url, JSON::PP->new->encode([ map { { %{ reply($_) }, event_type => 'EMAIL_OPEN' } } 105 .. 107 ])), 200, 'three events');
is(leads(), '100 105 107', 'automations act for those that a trigger leaves, as it leaves them');
$node->safe_psql('postgres', 'DROP TRIGGER change ON smartlead_events');
# A role that may insert and not read what is there
$node->safe_psql('postgres', q{CREATE ROLE blind LOGIN; GRANT INSERT ON smartlead_events TO blind; GRANT USAGE ON FOREIGN SERVER gold TO blind;
	UPDATE smartlead_webhooks SET subscriber = 'blind'::regrole WHERE connection = 'gold'});
my $before = $node->safe_psql('postgres', 'SELECT count(*) FROM smartlead_events');
is(send_body($url, JSON::PP->new->encode([ map { reply($_) } 108, 109 ])), 200, 'events of a role that may insert, and read nothing');
is($node->safe_psql('postgres', 'SELECT count(*) FROM smartlead_events') - $before, 2, 'are stored');
is(leads(), '100 105 107 108 109', 'and automations act for them');
$node->safe_psql('postgres', q{UPDATE smartlead_webhooks SET subscriber = 'boss'::regrole WHERE connection = 'gold'});
as('boss', q{CREATE FUNCTION work.fail() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''no''; END';
	CREATE TRIGGER fail BEFORE INSERT ON smartlead_events FOR EACH ROW WHEN (NEW.lead_id = 104) EXECUTE FUNCTION work.fail();});
is(send_event($url, reply(104)), 200, 'an event that fails');
$node->safe_psql('postgres', 'DROP TRIGGER fail ON smartlead_events');
like(scalar as('eve', 'SELECT smartlead_retry_event(id) FROM smartlead_failed_events'), qr/^\d+$/, 'is tried again');
is(leads(), '100 104 105 107 108 109', 'S3: and then automations act for it as for others');

done_testing();
