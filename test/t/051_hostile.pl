# Callers who mean harm: whatever they put before pg_catalog in their search_path, and wherever they
# call us from, none of it ever runs as anybody but themselves, and nothing of others leaks.
#
# What is called comes from the catalog: each function, table, view and sequence of the extension, a
# new one too.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use SmartleadSession;
use SmartleadTest;
use WebhookTest;

my $port = free_port();
my $node = smartlead_node('hostile', conf => "max_worker_processes = 16\nsmartlead.databases = 'postgres'\n"
	  . "smartlead.port = $port\nmax_locks_per_transaction = 1024\nlog_min_error_statement = panic\nlog_statement = none\n");
receiver_listens($port) or BAIL_OUT('the receiver does not listen');

# "boss" has what the others must not get: a connection of its own, events, jobs, an automation.
# "plain" and "chief" are ordinary roles, each with a schema of its own.
my %roles = (plain => 'smartlead_user', chief => 'smartlead_admin', boss => 'smartlead_admin');
my $odd = 'odd"; ALTER ROLE plain SUPERUSER; --';
for my $role (sort keys %roles)
{
	$node->safe_psql('postgres', qq{
		CREATE ROLE $role LOGIN;
		GRANT $roles{$role} TO $role;
		GRANT USAGE ON FOREIGN SERVER sandbox TO $role;
		CREATE USER MAPPING FOR $role SERVER sandbox OPTIONS (api_key 'sandbox-key-beta');
		CREATE SCHEMA ${role}_own AUTHORIZATION $role;});
}
connect_sandbox($node, name => 'gold', user => 'boss');
connect_sandbox($node, name => '"' . $odd =~ s/"/""/gr . '"', user => 'PUBLIC', key => 'sandbox-key-gamma');
$node->safe_psql('postgres', 'GRANT USAGE ON FOREIGN SERVER gold TO boss; GRANT USAGE ON FOREIGN SERVER "' . $odd =~ s/"/""/gr . '" TO PUBLIC');

sub as_boss
{
	return scalar $node->safe_psql('postgres', "SET ROLE boss; SET smartlead.connection = gold; $_[0]");
}
my $bosses_url = as_boss('SELECT smartlead_webhook_url()');
my $bosses_webhook = $node->safe_psql('postgres', 'SELECT max(id) FROM smartlead_webhooks');
as_boss("SELECT smartlead_secure_webhook($bosses_webhook, secret_key => 'secret-of-boss', signing_secret => 'secret-of-boss', signature_required => false)");
my $bosses_job = as_boss(q{SELECT smartlead_enqueue('update_lead', '{"campaign_id":1,"lead_id":2,"first_name":"name-of-boss"}', now() + '1 day')});
as_boss(q{SELECT smartlead_automate(t, 'update_lead', '{"campaign_id":1,"lead_id":"$lead_id","first_name":"name-of-boss"}') FROM unnest('{EMAIL_REPLY,LEAD_CATEGORY_UPDATED}'::text[]) t});
$node->safe_psql('postgres', q{INSERT INTO smartlead_events (id, connection, fingerprint, event_type, kind, event_at, reply_text, payload)
	VALUES (-1, 'gold', gen_random_uuid(), 'EMAIL_REPLY', 'EMAIL_REPLY', now(), 'reply-to-boss', '{}');
	INSERT INTO smartlead_failed_events (received_at, connection, webhook, payload, sqlstate, error)
	SELECT now(), 'sandbox', } . $bosses_webhook . q{, ('{"event_type":"EMAIL_REPLY","n":' || i || '}')::jsonb, 'XX000', 'x' FROM generate_series(1, 100) i;});

# What a role puts into its schema: each function and operator of pg_catalog over ordinary types
# once more, which does the same but tells the server's log as whom it ran; types of the same names,
# which tell as well; a type that is cast to others without being asked. As somebody else, they try
# to make their owner a superuser.
my $hostile = <<'SQL';
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
	ordinary pg_catalog.regtype[] := '{bool,int2,int4,int8,float8,numeric,text,name,bytea,oid,jsonb,jsonpath,uuid,date,timestamptz,interval,regrole,regclass,text[],int8[],oid[],uuid[],"char"}';
	f record;
	inner_call pg_catalog.text;
BEGIN
	FOR f IN
		SELECT p.proname, p.prorettype::regtype AS result, p.pronargs, pg_catalog.oidvectortypes(p.proargtypes) AS types
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
		inner_call := 'op_' || pg_catalog.md5(f.oprname || f.l::text || f.r::text);
		EXECUTE pg_catalog.format('CREATE FUNCTION %I(%s, %s) RETURNS %s LANGUAGE plpgsql AS $b$ BEGIN PERFORM ME_own.caught(%L); RETURN $1 OPERATOR(pg_catalog.%s) $2; END $b$',
			inner_call, f.l, f.r, f.result, f.oprname, f.oprname);
		EXECUTE pg_catalog.format('CREATE OPERATOR %s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = %I)', f.oprname, f.l, f.r, inner_call);
	END LOOP;
	-- Those over types that PostgreSQL itself has none for.
	FOR f IN
		SELECT o.name, l.t AS l, r.t AS r FROM pg_catalog.unnest('{=,<,>,<>,<=,>=}'::text[]) o (name),
		       pg_catalog.unnest('{int4,int8,numeric,text,name,oid,regrole,"char",bool}'::regtype[]) l (t),
		       pg_catalog.unnest('{int4,int8,numeric,text,name,oid,regrole,"char",bool}'::regtype[]) r (t)
		 WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_operator p WHERE p.oprname = o.name AND p.oprleft = l.t AND p.oprright = r.t
		       AND p.oprnamespace = 'pg_catalog'::regnamespace)
	LOOP
		inner_call := 'op_' || pg_catalog.md5(f.name || f.l::text || f.r::text);
		EXECUTE pg_catalog.format('CREATE FUNCTION %I(%s, %s) RETURNS bool LANGUAGE plpgsql AS $b$ BEGIN PERFORM ME_own.caught(%L); RETURN $1::text OPERATOR(pg_catalog.%s) $2::text; END $b$',
			inner_call, f.l, f.r, f.name, f.name);
		EXECUTE pg_catalog.format('CREATE OPERATOR %s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = %I)', f.name, f.l, f.r, inner_call);
	END LOOP;
END $do$;
CREATE FUNCTION count_step(int8) RETURNS int8 LANGUAGE plpgsql AS $b$ BEGIN PERFORM ME_own.caught('count'); RETURN $1 OPERATOR(pg_catalog.+) 1::int8; END $b$;
CREATE AGGREGATE count(*) (SFUNC = count_step, STYPE = int8, INITCOND = '0');
CREATE FUNCTION last_step(anyelement, anyelement) RETURNS anyelement LANGUAGE plpgsql AS $b$ BEGIN PERFORM ME_own.caught('aggregate'); RETURN $2; END $b$;
CREATE AGGREGATE min(anyelement) (SFUNC = last_step, STYPE = anyelement);
CREATE AGGREGATE max(anyelement) (SFUNC = last_step, STYPE = anyelement);
CREATE AGGREGATE sum(int8) (SFUNC = last_step, STYPE = int8);
CREATE AGGREGATE array_agg(pg_catalog.text) (SFUNC = last_step, STYPE = pg_catalog.text);
CREATE FUNCTION unnest(anyarray) RETURNS SETOF anyelement LANGUAGE plpgsql AS $b$ BEGIN PERFORM ME_own.caught('unnest'); RETURN QUERY SELECT pg_catalog.unnest($1); END $b$;
CREATE FUNCTION pg_stat_get_activity(int4) RETURNS SETOF int4 LANGUAGE plpgsql AS $b$ BEGIN PERFORM ME_own.caught('activity'); END $b$;
CREATE TYPE evil AS (x int8);
CREATE FUNCTION to_int8(evil) RETURNS int8 LANGUAGE plpgsql AS $b$ BEGIN PERFORM ME_own.caught('cast to int8'); RETURN 1; END $b$;
CREATE FUNCTION to_text(evil) RETURNS pg_catalog.text LANGUAGE plpgsql AS $b$ BEGIN PERFORM ME_own.caught('cast to text'); RETURN 'x'; END $b$;
CREATE FUNCTION to_evil(pg_catalog.text) RETURNS evil LANGUAGE plpgsql AS $b$ BEGIN PERFORM ME_own.caught('cast from text'); RETURN row(1); END $b$;
CREATE FUNCTION to_evil(int8) RETURNS evil LANGUAGE plpgsql AS $b$ BEGIN PERFORM ME_own.caught('cast from int8'); RETURN row(1); END $b$;
CREATE CAST (evil AS int8) WITH FUNCTION to_int8(evil) AS IMPLICIT;
CREATE CAST (evil AS pg_catalog.text) WITH FUNCTION to_text(evil) AS IMPLICIT;
CREATE CAST (pg_catalog.text AS evil) WITH FUNCTION to_evil(pg_catalog.text) AS IMPLICIT;
CREATE CAST (int8 AS evil) WITH FUNCTION to_evil(int8) AS IMPLICIT;
CREATE FUNCTION peep(who pg_catalog.text) RETURNS pg_catalog.bool LANGUAGE plpgsql IMMUTABLE COST 0.0000001 AS $b$
BEGIN RAISE LOG 'ME has seen <%>', who; PERFORM ME_own.caught('peep'); RETURN true; END $b$;
CREATE DOMAIN int8 AS pg_catalog.int8 CHECK (ME_own.caught('type int8'));
CREATE DOMAIN oid AS pg_catalog.oid CHECK (ME_own.caught('type oid'));
CREATE DOMAIN name AS pg_catalog.name CHECK (ME_own.caught('type name'));
CREATE DOMAIN jsonb AS pg_catalog.jsonb CHECK (ME_own.caught('type jsonb'));
CREATE DOMAIN regrole AS pg_catalog.regrole CHECK (ME_own.caught('type regrole'));
CREATE DOMAIN text AS pg_catalog.text CHECK (ME_own.caught('type text'));
SQL

my @hostile = qw(plain chief);
my (%as, %surroundings, $shown);
my $state = q{SELECT pg_catalog.concat_ws(' ', current_user, session_user, pg_catalog.current_setting('search_path'), pg_catalog.current_setting('row_security'),
	pg_catalog.current_setting('standard_conforming_strings'), pg_catalog.current_setting('is_superuser'), pg_catalog.current_setting('hostile.armed'))};
for my $role (@hostile)
{
	$as{$role} = SmartleadSession->new($node, user => $role);
	$as{$role}->query("SET search_path = ${role}_own, pg_catalog; SET client_min_messages = error");
	my (undef, $errors) = $as{$role}->query($hostile =~ s/\bME/$role/gr);
	is($errors, '', "$role has prepared its schema");
	$as{$role}->query("RESET client_min_messages; SET search_path = ${role}_own, pg_catalog, public; SET hostile.armed = yes; SET statement_timeout = 4000");
	$surroundings{$role} = $as{$role}->query($state);
	is($as{$role}->query('SELECT 1::pg_catalog.int8 = 1::pg_catalog.int8'), 't', 'its operators work');
	ok(log_has($node, qr/hostile = of $role ran as $role\./), 'and tell');
}

# Runs statements, and looks whether the session is as before.
my @changed;
sub attack
{
	my ($role, $sql) = @_;
	my ($out, $err) = $as{$role}->query("\\set VERBOSITY verbose\n$sql\n;\n\\set VERBOSITY default\nROLLBACK");
	$shown .= "$role: $sql\n$out\n$err\n";
	my $now = $as{$role}->query($state);
	push @changed, "$role after $sql: $now" if $now ne $surroundings{$role};
	return ($out, $err);
}

# The same within everything that could be wound up in the wrong order.
sub attack_everywhere
{
	my ($role, $sql) = @_;
	my $quoted = '$q$' . $sql . '$q$';
	attack($role, $sql);
	attack($role, "BEGIN;\nSAVEPOINT a;\n$sql;\nSELECT 1 OPERATOR(pg_catalog./) 0;\nROLLBACK TO a;\n$state;\n$sql;\nROLLBACK TO a;\n$state;\nROLLBACK");
	attack($role, "DO \$d\$ BEGIN EXECUTE $quoted; RAISE 'x'; EXCEPTION WHEN OTHERS THEN BEGIN EXECUTE $quoted; EXCEPTION WHEN OTHERS THEN NULL; END; END \$d\$");
	attack($role, "BEGIN READ ONLY;\n$sql;\nROLLBACK");
	attack($role, "BEGIN ISOLATION LEVEL SERIALIZABLE;\nSET LOCAL row_security = off;\nSET LOCAL standard_conforming_strings = off;\nSET LOCAL smartlead.connection = '"
		  . $odd =~ s/'/''/gr . "';\n$sql;\nROLLBACK");
	return;
}

# ---- functions ----

# What the arguments of those names are given; others by type.
my $failed_event = 0;
my %mine;
for my $role (@hostile)
{
	$mine{$role}{job} = $as{$role}->query(q{SELECT public.smartlead_enqueue('pause_lead', '{"campaign_id":1,"lead_id":2}', pg_catalog.now() OPERATOR(pg_catalog.+) '1 day'::pg_catalog.interval, 'sandbox')});
	like($mine{$role}{job}, qr/^\d+$/, "$role has a job");
}
$mine{chief}{webhook} = $as{chief}->query(q{SELECT 'url ' WHERE public.smartlead_webhook_url('sandbox') IS NULL}) || $node->safe_psql('postgres', 'SELECT max(id) FROM smartlead_webhooks');
$mine{chief}{automation} = $as{chief}->query(q{SELECT public.smartlead_automate('EMAIL_REPLY', 'pause_lead', '{"campaign_id":1,"lead_id":"$lead_id"}')});
like($mine{chief}{automation}, qr/^\d+$/, 'and an automation');
my %of_name = (
	connection => q{'sandbox'}, action => q{'pause_lead'}, args => q{'{"campaign_id":549768,"lead_id":3499513771}'},
	event_type => q{'EMAIL_REPLY'}, condition => q{'$.x'}, method => q{'GET'}, path => q{'/campaigns'}, query => q{'{"x":1}'}, body => 'NULL',
	timeout => q{'1 ms'}, overlap => q{'1 hour'}, max_rows => 3, level => q{'user'}, events => q{'{EMAIL_REPLY}'},
	categories => q{'{Interested}'}, email => q{'ada@clinic.example'}, campaign_id => 549768, lead_id => 3499513771, status => 'NULL',
	max_per_hour => 5, options => q{'{api_key=x}'});
my %of_type = (
	int8 => 1, int4 => 1, int2 => 1, oid => 0, float8 => 1, numeric => 1, bool => 'true', text => q{'x'}, name => q{'sandbox'}, jsonb => q{'{}'}, jsonpath => q{'$'},
	timestamptz => q{'2026-03-03'}, interval => q{'1 ms'}, _text => q{'{x}'}, _int8 => q{'{1}'}, uuid => q{'00000000-0000-0000-0000-000000000001'}, bytea => q{'x'});

sub value
{
	my ($role, $name, $type, $kind) = @_;
	return "row(1)::${role}_own.evil" if $kind eq 'cast' && ($type eq 'int8' || $type eq 'text');
	my $value = $kind eq 'null' ? 'NULL'
	  : $kind eq 'other' && $name eq 'job' ? $bosses_job
	  : $kind eq 'other' && $name eq 'webhook' ? $bosses_webhook
	  : $kind eq 'other' && $name eq 'connection' ? q{'gold'}
	  : $name eq 'id' ? ++$failed_event % 100 + 1
	  : $name eq 'max_per_hour' && $kind eq 'other' ? 0
	  : $mine{$role}{$name} // $of_name{$name} // $of_type{$type} // 'NULL';
	return "$value\::pg_catalog.$type";
}

my @functions = map { [ split /\|/, $_, -1 ] } split /\n/, $node->safe_psql('postgres', q{
	SELECT p.oid::regprocedure, n.nspname, p.proname, p.prorettype = 'trigger'::regtype,
	       array_to_string(p.proargnames[1:p.pronargs], ','),
	       (SELECT coalesce(string_agg(t.typname, ',' ORDER BY a.o), '') FROM unnest(p.proargtypes::oid[]) WITH ORDINALITY a (t, o) JOIN pg_type t ON t.oid = a.t)
	  FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
	  JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
	  JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND e.extname = 'smartlead'
	 ORDER BY p.proname ~ 'stop|drop|revoke|unsubscribe_webhook|reset', 1});
cmp_ok(scalar @functions, '>', 40, 'the extension has functions');
my $succeeded = 0;
for my $function (@functions)
{
	my ($signature, $schema, $name, $is_trigger, $names, $types) = @$function;
	my @names = split /,/, $names;
	my @types = split /,/, $types;
	for my $role (@hostile)
	{
		if ($is_trigger eq 't')
		{
			my (undef, $err) = attack($role, "BEGIN;\nCREATE TEMP TABLE t (x int4);\nCREATE TRIGGER t AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION $schema.$name();\nINSERT INTO t VALUES (1)");
			like($err, qr/permission denied for function|must be/, "S9: $role can't use $name as a trigger of its own");
			next;
		}
		for my $kind ('own', 'other', 'null', 'cast')
		{
			next if $kind ne 'own' && !@types;
			my $call = "SELECT * FROM $schema.$name(" . join(', ', map { value($role, $names[$_] // '', $types[$_], $kind) } 0 .. $#types) . ')';
			if ($kind eq 'own')
			{
				attack_everywhere($role, $call);
			}
			my (undef, $err) = attack($role, "BEGIN;\n$call;\nCOMMIT");
			$succeeded++ if $err !~ /ERROR/;
		}
	}
}
cmp_ok($succeeded, '>', @functions, 'many of the calls succeed');

# ---- tables, views, sequences ----

my %value_of = (%of_type, _text => q{'{x}'});
my %column = (connection => q{'gold'}, kind => q{'EMAIL_REPLY'}, event_type => q{'EMAIL_REPLY'}, run_as => q{'boss'}, owner => q{'boss'}, subscriber => q{'boss'}, state => q{'ready'}, level => q{'user'});
my @relations = map { [ split /\|/, $_, -1 ] } split /\n/, $node->safe_psql('postgres', q{
	SELECT c.oid::regclass, c.relkind, string_agg(a.attname || ':' || t.typname, ',' ORDER BY a.attnum)
	  FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped JOIN pg_type t ON t.oid = a.atttypid
	 WHERE c.relkind IN ('r', 'v', 'm', 'p', 'f', 'S') AND (c.relname = 'smartlead_events' OR EXISTS (
		SELECT FROM pg_depend d JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND e.extname = 'smartlead'
		 WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')) GROUP BY c.oid, c.relkind ORDER BY 1});
cmp_ok(scalar @relations, '>', 8, 'the extension has tables and views');
for my $relation (@relations)
{
	my ($name, $relkind, $columns) = @$relation;
	my @columns = map { [ split /:/ ] } split /,/, $columns;
	# What can be asked of Smartlead is no secret, and has the names that must not be seen of jobs.
	my @searched = $name eq 'smartlead_endpoints' ? grep { $_->[0] eq 'method' } @columns : @columns;
	for my $role (@hostile)
	{
		attack_everywhere($role, "SELECT * FROM public.$name");
		attack($role, "SELECT * FROM public.$name WHERE " . join ' AND ', map { "${role}_own.peep($_->[0]::pg_catalog.text)" } @searched);
		attack($role, "SELECT $_->[0] FROM public.$name WHERE ${role}_own.peep($_->[0]::pg_catalog.text) AND $_->[0] = $_->[0]") for @searched;
		attack($role, "SELECT pg_catalog.setval('public.$name', 5); SELECT pg_catalog.nextval('public.$name')") if $relkind eq 'S';
		next if $relkind eq 'S' || ($name eq 'smartlead_events' && $role eq 'chief'); # who owns it
		my @given = grep { $_->[0] ne 'id' || $name =~ /queue/ } @columns;
		my $into = "INSERT INTO public.$name (" . join(', ', map { $_->[0] } @given) . ') VALUES (';
		for my $connection (q{'gold'}, q{'sandbox'})
		{
			attack_everywhere($role, $into . join(', ', map { $_->[0] eq 'connection' ? $connection : $_->[0] eq 'fingerprint' ? 'pg_catalog.gen_random_uuid()'
				: $column{ $_->[0] } // $value_of{ $_->[1] } // 'NULL' } @given) . ')');
		}
		attack($role, "UPDATE public.$name SET $_->[0] = $_->[0]") for @columns;
		attack($role, "$_ public.$name") for 'TRUNCATE', 'LOCK TABLE', 'ANALYZE', 'REINDEX TABLE';
		attack($role, "CREATE RULE r AS ON INSERT TO public.$name DO ALSO SELECT ${role}_own.caught('rule')");
		attack($role, "CREATE POLICY p ON public.$name USING (${role}_own.caught('policy'))");
		attack($role, "COPY public.$name TO STDOUT");
		attack($role, "DELETE FROM public.$name WHERE $columns[0][0] = $columns[0][0]") unless $name =~ /events/ && $role eq 'chief';
		attack_everywhere($role, "DELETE FROM public.$name WHERE ${role}_own.peep(row_to_json(${name}.*)::pg_catalog.text) AND false");
	}
}

# ---- what has come of it ----

is(join("\n", @changed), '', 'S9: each session is as before');
my $log = slurp_file($node->logfile);
my %ran;
$ran{"$2 as $3"}{$1}++ while $log =~ /LOG:  hostile (.+?) of (\w+) ran as (\S+)\./g;
is(join(', ', map { my $who = $_; map { "$_ of $who" } sort keys %{ $ran{$who} } } grep { !/^(\w+) as \1$/ } sort keys %ran),
	'', 'S9: nothing of theirs has run as anybody else');
cmp_ok(scalar keys %{ $ran{"$_ as $_"} }, '>', 3, "though what ${_} called itself did, as itself") for @hostile;
is($node->safe_psql('postgres', q{SELECT string_agg(rolname, ', ') FROM pg_roles WHERE rolsuper AND rolname IN ('plain', 'chief', 'boss')}),
	'', 'S9: nobody has become a superuser');
is($node->safe_psql('postgres', q{SELECT string_agg(m.member::regrole || ' in ' || m.roleid::regrole, ', ' ORDER BY 1) FROM pg_auth_members m WHERE m.member IN ('plain'::regrole, 'chief'::regrole)}),
	'chief in smartlead_admin, plain in smartlead_user', 'S9: nor a member of another role');
is($node->safe_psql('postgres', q{SELECT count(*) FROM smartlead_queue WHERE run_as = 'boss'::regrole AND automation_id IS NULL AND (id <> } . $bosses_job . q{ OR state NOT IN ('ready', 'cancelled'))}),
	0, 'S9: there is no job of another role that it did not enqueue');
my @seen = $log =~ /LOG:  plain has seen <(.*)>/g;
cmp_ok(scalar @seen, '>', 10, 'what is searched with functions is seen');
is(join(', ', grep { /boss|gold|update_lead/ } @seen), '', 'S9: no function in WHERE sees what its caller may not');
unlike($shown, qr/sandbox-key/, 'S9: nobody has been shown a key');
unlike($shown, qr/secret-of-boss/, "S9: nor a webhook's secret");
my $of_plain = join "\n", grep { /^plain: / } split /^(?=(?:plain|chief): )/m, $shown;
unlike($of_plain, qr/reply-to-boss|name-of-boss/, 'S9: nor of another role\'s events and jobs');
like($shown, qr/reply-to-boss/, 'as smartlead_admin is');
is($node->safe_psql('postgres', q{SELECT string_agg(c.oid::regclass::text, ', ') FROM pg_class c
	JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
	JOIN pg_extension e ON d.refobjid = e.oid AND e.extname = 'smartlead'
	WHERE c.relkind = 'v' AND NOT coalesce(c.reloptions::text[] @> '{security_barrier=true}', false)}),
	'', 'S9: each view is a security barrier');
is($node->safe_psql('postgres', q{SELECT string_agg(p.oid::regprocedure::text, ', ') FROM pg_proc p
	JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
	JOIN pg_extension e ON d.refobjid = e.oid AND e.extname = 'smartlead'
	JOIN pg_language l ON l.oid = p.prolang
	WHERE (p.prosecdef OR l.lanname NOT IN ('c', 'internal')) AND NOT coalesce(p.proconfig @> '{"search_path=pg_catalog, pg_temp"}', false)}),
	'', 'S9: each function that is not in C has a search_path of its own');

# ---- made where others have been before ----

# Somebody's operators are in the extension's schema before the extension is.
$node->safe_psql('postgres', 'CREATE DATABASE early; GRANT CREATE ON DATABASE early TO plain');
my $early = SmartleadSession->new($node, database => 'early', user => 'plain');
$early->query('CREATE SCHEMA plain_own; SET client_min_messages = error; SET search_path = plain_own, pg_catalog');
is(($early->query($hostile =~ s/\bME/plain/gr))[1], '', 'a schema with operators, functions and types in it');
$early->quit;
$node->safe_psql('early', q{SET hostile.armed = yes; CREATE EXTENSION smartlead SCHEMA plain_own});
is($node->safe_psql('early', q{
	SELECT string_agg(DISTINCT pg_describe_object(d.classid, d.objid, 0) || ' needs ' || pg_describe_object(d.refclassid, d.refobjid, 0), ', ')
	  FROM pg_depend d
	 WHERE d.refclassid IN ('pg_proc'::regclass, 'pg_operator'::regclass, 'pg_type'::regclass, 'pg_cast'::regclass)
	   AND d.deptype IN ('n', 'a')
	   AND NOT EXISTS (SELECT FROM pg_depend m WHERE m.classid = d.refclassid AND m.objid = d.refobjid AND m.deptype = 'e')
	   AND NOT EXISTS (SELECT FROM pg_type t WHERE d.refclassid = 'pg_type'::regclass AND t.oid = d.refobjid AND t.typrelid <> 0)
	   AND (SELECT nspname FROM pg_namespace WHERE oid = coalesce((SELECT pronamespace FROM pg_proc WHERE oid = d.refobjid AND d.refclassid = 'pg_proc'::regclass),
	       (SELECT oprnamespace FROM pg_operator WHERE oid = d.refobjid AND d.refclassid = 'pg_operator'::regclass),
	       (SELECT typnamespace FROM pg_type WHERE oid = d.refobjid AND d.refclassid = 'pg_type'::regclass))) = 'plain_own'
	   AND NOT EXISTS (SELECT FROM pg_proc p WHERE d.classid = 'pg_proc'::regclass AND p.oid = d.objid AND pg_get_userbyid(p.proowner) = 'plain')
	   AND (d.classid IN ('pg_rewrite'::regclass, 'pg_policy'::regclass, 'pg_constraint'::regclass, 'pg_attrdef'::regclass, 'pg_trigger'::regclass)
	        OR EXISTS (SELECT FROM pg_depend m WHERE m.classid = d.classid AND m.objid = d.objid AND m.deptype = 'e'))
	   AND NOT EXISTS (SELECT FROM pg_constraint c WHERE d.classid = 'pg_constraint'::regclass AND c.oid = d.objid AND c.contypid <> 0)}),
	'', 'S9: nothing of the extension is bound to what was there before');
unlike(slurp_file($node->logfile), qr/LOG:  hostile .* of plain ran as (?!plain\.)/, 'S9: nor has anything of it run while the extension was made');

done_testing();
