# Callers who mean harm: whatever they put before pg_catalog in their search_path, none of it ever
# runs as anybody but themselves.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use SmartleadSession;
use SmartleadTest;

my $port = free_port();
my $node = smartlead_node('hostile',
	conf => "max_worker_processes = 16\nsmartlead.port = $port\nmax_locks_per_transaction = 1024\n");

# Two ordinary roles, each with a schema of its own.
my %roles = (plain => 'smartlead_user', chief => 'smartlead_admin');
for my $role (sort keys %roles)
{
	$node->safe_psql('postgres', qq{
		CREATE ROLE $role LOGIN;
		GRANT $roles{$role} TO $role;
		GRANT USAGE ON FOREIGN SERVER sandbox TO $role;
		CREATE USER MAPPING FOR $role SERVER sandbox OPTIONS (api_key 'sandbox-key-beta');
		CREATE SCHEMA ${role}_own AUTHORIZATION $role;});
}

# What a role puts into its schema: each operator and function of pg_catalog over ordinary types
# once more, which does the same but tells the server's log as whom it ran; types of the same names,
# which tell as well. As somebody else, it tries to make its owner a superuser.
my $hostile = <<'SQL';
SET client_min_messages = error;
CREATE FUNCTION caught(what pg_catalog.text) RETURNS pg_catalog.bool LANGUAGE plpgsql AS $f$
BEGIN
	IF pg_catalog.current_setting('hostile.armed', true) OPERATOR(pg_catalog.=) 'yes' THEN
		RAISE LOG 'hostile % of ME ran as %.', what, current_user;
		IF current_user OPERATOR(pg_catalog.<>) 'ME' THEN
			EXECUTE 'ALTER ROLE ME SUPERUSER';
		END IF;
	END IF;
	RETURN true;
EXCEPTION WHEN insufficient_privilege THEN
	RETURN true;
END $f$;
DO $do$
DECLARE
	ordinary pg_catalog.regtype[] := '{bool,int2,int4,int8,float8,numeric,text,name,bytea,oid,jsonb,jsonpath,uuid,date,timestamptz,interval,regrole,text[],int8[],oid[],uuid[],"char"}';
	f record;
	inner_call pg_catalog.text;
BEGIN
	FOR f IN
		SELECT p.oid, p.proname, p.prorettype::regtype AS result, p.pronargs,
		       pg_catalog.oidvectortypes(p.proargtypes) AS types, p.proretset
		  FROM pg_catalog.pg_proc p
		 WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind = 'f' AND p.pronargs <= 4
		   AND p.provariadic = 0 AND NOT p.proretset
		   AND p.prorettype = ANY (ordinary) AND p.proargtypes::oid[] <@ ordinary::oid[]
	LOOP
		inner_call := pg_catalog.format('pg_catalog.%I(%s)', f.proname,
			(SELECT pg_catalog.string_agg('$' || i, ', ') FROM pg_catalog.generate_series(1, f.pronargs) i));
		EXECUTE pg_catalog.format('CREATE FUNCTION %I(%s) RETURNS %s LANGUAGE plpgsql AS $b$ BEGIN PERFORM ME_own.caught(%L); RETURN %s; END $b$',
			f.proname, f.types, f.result, f.proname, inner_call);
	END LOOP;
	FOR f IN
		SELECT o.oprname, o.oprleft::regtype AS l, o.oprright::regtype AS r, o.oprresult::regtype AS result
		  FROM pg_catalog.pg_operator o
		 WHERE o.oprnamespace = 'pg_catalog'::regnamespace AND o.oprkind = 'b'
		   AND o.oprleft = ANY (ordinary) AND o.oprright = ANY (ordinary) AND o.oprresult = ANY (ordinary)
	LOOP
		inner_call := pg_catalog.md5(f.oprname || f.l::text || f.r::text);
		EXECUTE pg_catalog.format('CREATE FUNCTION %I(%s, %s) RETURNS %s LANGUAGE plpgsql AS $b$ BEGIN PERFORM ME_own.caught(%L); RETURN $1 OPERATOR(pg_catalog.%s) $2; END $b$',
			'op_' || inner_call, f.l, f.r, f.result, f.oprname, f.oprname);
		EXECUTE pg_catalog.format('CREATE OPERATOR %s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = %I)',
			f.oprname, f.l, f.r, 'op_' || inner_call);
	END LOOP;
END $do$;
SQL

my %as;
for my $role (sort keys %roles)
{
	$as{$role} = SmartleadSession->new($node, user => $role);
	$as{$role}->query("SET search_path = ${role}_own, pg_catalog");
	my (undef, $errors) = $as{$role}->query($hostile =~ s/\bME/$role/gr);
	is($errors, '', "$role has prepared its schema");
	$as{$role}->query("SET search_path = ${role}_own, pg_catalog, public; SET hostile.armed = yes");
	$as{$role}->query('SET statement_timeout = 5000');
}
is($as{plain}->query('SELECT 1::bigint = 1::bigint'), 't', 'its operators work');
ok(log_has($node, qr/hostile = of plain ran as plain\./), 'and tell');

# What they may have in the tables.
my %job;
for my $role (sort keys %roles)
{
	$job{$role} = $as{$role}->query(q{SELECT smartlead_enqueue('pause_lead', '{"campaign_id":1,"lead_id":2}', now() + '1 day')});
	like($job{$role}, qr/^\d+$/, "$role has a job");
	$as{$role}->query("SELECT smartlead_cancel($job{$role})");
	$as{$role}->query("SELECT smartlead_requeue($job{$role})");
	$as{$role}->query("SELECT smartlead_wait($job{$role}, '1 ms')");
	$as{$role}->query("SELECT smartlead_resume_connection('sandbox')");
}
my $webhook = $as{chief}->query(q{SELECT smartlead_webhook_url(); SELECT max(id) FROM smartlead_webhooks});
like($webhook, qr/(\d+)$/, 'a webhook');
$webhook =~ s/.*\n//s;
$as{chief}->query("SELECT smartlead_secure_webhook($webhook); SELECT smartlead_rotate_webhook($webhook)");
$as{chief}->query("SELECT smartlead_revoke_webhook($webhook)");
my $automation = $as{chief}->query(q{SELECT smartlead_automate('EMAIL_REPLY', 'pause_lead', '{"campaign_id":1,"lead_id":"$lead_id"}')});
like($automation, qr/^\d+$/, 'an automation');
is(($as{chief}->query(q{INSERT INTO smartlead_events (connection, fingerprint, event_type, kind, event_at, lead_id, payload)
	VALUES ('sandbox', gen_random_uuid(), 'EMAIL_REPLY', 'EMAIL_REPLY', now(), 3, '{}')}))[1], '', 'an event');
$as{chief}->query('SELECT * FROM smartlead_list_automations()');
$as{chief}->query("SELECT smartlead_drop_automation($automation)");

my $log = slurp_file($node->logfile);
my %ran;
$ran{"$2 as $3"}{$1}++ while $log =~ /LOG:  hostile (\S+) of (\w+) ran as (\S+)\./g;
is(join(', ', map { my $who = $_; map { "$_ of $who" } sort keys %{ $ran{$who} } } grep { !/^(\w+) as \1$/ } sort keys %ran),
	'', 'S9: nothing of theirs has run as anybody else');
is($node->safe_psql('postgres', q{SELECT string_agg(rolname, ', ') FROM pg_roles WHERE rolsuper AND rolname IN ('plain', 'chief')}),
	'', 'S9: nobody has become a superuser');
done_testing();
