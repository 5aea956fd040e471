# What an upgrade makes is what an installation makes, object by object, and loses nothing meanwhile: for each
# version that can be installed and brought to the default one, with workers running and rows in all tables.
#
# Where no other version has been released yet, and in any case, two that never were show that this would see a
# fault: 0.9 differs from the default version in this and that, and its upgrade script puts it right; that of 0.8
# forgets one thing.
use strict;
use warnings;

use File::Basename qw(dirname);
use File::Path qw(make_path);
use JSON::PP;
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use SmartleadObjects;
use SmartleadTest;
use WebhookTest;

# ---- versions that never were ----

# An installation of the test's own, since scripts are added to it: programs find their files by where they are.
sub copy_installation
{
	my %from = map { chomp(my $dir = `pg_config --$_`); $_ => $dir } qw(bindir sharedir pkglibdir);
	# That of PostgreSQL 13 tells where it was installed at first, not where it is.
	chomp(my $program = `sh -c "command -v pg_config"`);
	my $moved_to = dirname($program) =~ s/\Q$from{bindir}\E$//r;
	my $copy = PostgreSQL::Test::Utils::tempdir();
	for my $dir (values %from)
	{
		make_path("$copy$dir");
		system_or_bail('sh', '-c', "tar -C '$moved_to$dir' --exclude=./bitcode -chf - . | tar -C '$copy$dir' -xf -");
	}
	$ENV{PATH} = "$copy$from{bindir}:$ENV{PATH}";
	return "$copy$from{sharedir}/extension";
}

my $extension_dir = copy_installation();
my ($default) = slurp_file("$extension_dir/smartlead.control") =~ /^default_version = '(.*)'/m;
my $node = smartlead_node('main', extension => 0,
	conf => "max_worker_processes = 24\nsmartlead.port = @{[free_port()]}");
start_sandbox();
$node->safe_psql('postgres', 'CREATE DATABASE fresh');
$node->safe_psql('fresh', 'CREATE EXTENSION smartlead');

# What is as follows in 0.8 and 0.9, and puts itself right by the upgrade.
my $older = q{
	COMMENT ON FUNCTION @extschema@.smartlead_ping(name) IS 'other words';
	ALTER FUNCTION @extschema@.smartlead_ping(name) COST 1;
	CREATE FUNCTION @extschema@.smartlead_gone() RETURNS integer LANGUAGE sql AS 'SELECT 1';
	CREATE VIEW @extschema@.smartlead_gone_view AS SELECT @extschema@.smartlead_gone();
	ALTER TABLE @extschema@.smartlead_webhooks ADD COLUMN gone text DEFAULT 'x';
	ALTER VIEW @extschema@.smartlead_stat_requests RESET (security_barrier);
	ALTER TABLE @extschema@.smartlead_queue ALTER COLUMN priority SET DEFAULT 6;
	GRANT SELECT ON @extschema@.smartlead_webhook_tokens TO smartlead_admin;
	SELECT pg_catalog.pg_extension_config_dump('@extschema@.smartlead_automations', 'WHERE id > 0');
};
my $comment = $node->safe_psql('fresh', q{SELECT quote_literal(obj_description('smartlead_ping(name)'::regprocedure, 'pg_proc'))});
my $put_right = qq{
	COMMENT ON FUNCTION \@extschema\@.smartlead_ping(name) IS $comment;
	ALTER FUNCTION \@extschema\@.smartlead_ping(name) COST 100000;
	DROP VIEW \@extschema\@.smartlead_gone_view;
	DROP FUNCTION \@extschema\@.smartlead_gone();
	ALTER TABLE \@extschema\@.smartlead_webhooks DROP COLUMN gone;
	ALTER VIEW \@extschema\@.smartlead_stat_requests SET (security_barrier = true);
	ALTER TABLE \@extschema\@.smartlead_queue ALTER COLUMN priority SET DEFAULT 5;
	SELECT pg_catalog.pg_extension_config_dump('\@extschema\@.smartlead_automations', '');
};
my $revoke = 'REVOKE SELECT ON @extschema@.smartlead_webhook_tokens FROM smartlead_admin;';
my $script = slurp_file("$extension_dir/smartlead--$default.sql");
append_to_file("$extension_dir/smartlead--0.$_.sql", $script . $older) for 8, 9;
append_to_file("$extension_dir/smartlead--0.8--$default.sql", $put_right);
append_to_file("$extension_dir/smartlead--0.9--$default.sql", $put_right . $revoke);
my %forgotten = ('0.8' => 2); # lines: the right, and that pg_dump takes it for the extension's own

# ---- an upgrade ----

my @fresh = extension_objects($node, 'fresh');

# The extension's tables, and the events.
sub tables
{
	my ($database) = @_;
	return split /\n/, $node->safe_psql($database, q{
		SELECT c.oid::regclass FROM pg_class c WHERE c.relkind IN ('r', 'p') AND (c.relname = 'smartlead_events' OR EXISTS (
			SELECT FROM pg_depend d JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
			 WHERE e.extname = 'smartlead' AND d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'))});
}

sub rows_of
{
	my ($database, $table) = @_;
	return map { JSON::PP->new->decode($_) } split /\n/, $node->safe_psql($database, "SELECT to_jsonb(t) FROM $table t");
}

sub columns_of
{
	my ($database, $table) = @_;
	return split /\n/, $node->safe_psql($database,
		"SELECT attname FROM pg_attribute WHERE attrelid = '$table'::regclass AND attnum > 0 AND NOT attisdropped");
}

sub text_of
{
	my ($row, @columns) = @_;
	my %part;
	@part{@columns} = @{$row}{@columns};
	return JSON::PP->new->canonical->encode(\%part);
}

my $number = 0;

sub event
{
	my ($lead) = @_;
	$number++;
	return { event_type => 'EMAIL_OPEN', stats_id => "s$number", lead_email => $lead || 'ada@clinic.example',
		event_timestamp => '2026-03-03T09:00:00Z' };
}

# What becomes of a job that is enqueued.
sub state_of_new_job
{
	my ($database) = @_;
	my $job = $node->safe_psql($database,
		q{SELECT smartlead_enqueue('pause_lead', '{"campaign_id": 600001, "lead_id": 3600000001}', connection => 'sandbox')});
	return $node->safe_psql($database, "SELECT state FROM smartlead_wait($job)");
}

# Something in every table, by what users do. Returns a webhook's URL.
sub fill
{
	my ($database) = @_;
	make_connection($node, $database);
	connect_sandbox($node, database => $database);
	connect_sandbox($node, database => $database, name => 'refused', key => 'wrong', user => 'app');
	$node->safe_psql($database, q{
		CREATE SCHEMA crm AUTHORIZATION app; GRANT USAGE ON FOREIGN SERVER refused TO app;
		SELECT smartlead_enqueue('pause_lead', '{"campaign_id": 600001, "lead_id": 3600000002}', now() + '1 year', 'sandbox');
		SET ROLE app;
		SELECT smartlead_automate('EMAIL_REPLY', 'pause_lead', '{"campaign_id": "$campaign_id", "lead_id": "$lead_id"}');
		SELECT smartlead_enqueue('pause_lead', '{"campaign_id": 600001, "lead_id": 3600000003}', connection => 'refused')});
	is(state_of_new_job($database), 'done', 'a job is performed');
	my $url = webhook_url($node, database => $database);
	$node->safe_psql($database, q{
		SET ROLE app;
		CREATE TABLE crm.seen (id bigint);
		CREATE FUNCTION crm.on_event() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN
			IF NEW.lead_email LIKE 'bad@%' THEN RAISE 'no'; END IF;
			INSERT INTO crm.seen VALUES (NEW.id);
			RETURN NULL;
		END $$;
		CREATE TRIGGER on_event AFTER INSERT ON smartlead_events FOR EACH ROW EXECUTE FUNCTION crm.on_event()});
	is(send_event($url, event($_)), 200, "an event about $_") for qw(ada@clinic.example bad@clinic.example);
	ok($node->poll_query_until($database, 'SELECT count(*) = 1 FROM smartlead_queue_paused'), 'a connection is paused');
	return $url;
}

# Sends events from another process, each until it is answered 200; says how many when it has ended.
sub send_meanwhile
{
	my ($url, $n) = @_;
	my @events = map { event() } 1 .. $n;
	open my $pipe, '-|' or do
	{
		for my $event (@events)
		{
			wait_until(sub { send_event($url, $event) == 200 }, 'an event is stored') or POSIX::_exit(1);
		}
		print $n;
		close STDOUT;
		POSIX::_exit(0);
	};
	return $pipe;
}

sub try_upgrade
{
	my ($version) = @_;
	my $database = "from $version";
	my $port = free_port();
	$node->safe_psql('postgres', qq{CREATE DATABASE "$database"});
	$node->safe_psql('postgres', qq{ALTER DATABASE "$database" SET smartlead.port = $port});
	$node->safe_psql($database, "CREATE EXTENSION smartlead VERSION '$version'");
	$node->safe_psql('postgres', qq{ALTER SYSTEM SET smartlead.databases = '"$database"'});
	$node->reload;
	ok(receiver_listens($port), "a receiver with the objects of $version") or return;
	my $url = fill($database);
	my %before = map { $_ => [ rows_of($database, $_) ] } tables($database);
	is(join(' ', grep { !@{ $before{$_} } } sort keys %before), '', 'every table has rows');

	my $sender = send_meanwhile($url, 40);
	$node->safe_psql($database, 'ALTER EXTENSION smartlead UPDATE');
	is(status_of($sender), 40, "$version: while it is upgraded, each event is stored, at the first try or a later one");
	is(send_event($url, event()), 200, 'afterwards, too');
	is($node->safe_psql($database, 'SELECT count(*), (SELECT count(*) FROM smartlead_events) FROM crm.seen'), '42|42', 'and the trigger saw each, once');
	is(state_of_new_job($database), 'done', 'a job is performed');
	my @lost;
	for my $table (sort keys %before)
	{
		my %has = map { $_ => 1 } columns_of($database, $table);
		my @columns = grep { $has{$_} } keys %{ $before{$table}[0] };
		my %after = map { text_of($_, @columns) => 1 } rows_of($database, $table);
		push @lost, map { "$table: $_" } grep { !$after{$_} } map { text_of($_, @columns) } @{ $before{$table} };
	}
	is(join("\n", @lost), '', "$version: every row is still there");
	my $differences = differences(\@fresh, [ extension_objects($node, $database) ]);
	return is($differences, '', "$version: an upgraded one is as one that was installed") unless $forgotten{$version};
	is(scalar(() = $differences =~ /^[-+] .*smartlead_webhook_tokens.*smartlead_admin/mg), $forgotten{$version}, "$version: what its script forgot is seen");
	is(scalar(split /\n/, $differences), 2 * $forgotten{$version}, 'and nothing else');
	return;
}

# ---- what the comparison sees ----

# A change, and the line by which it is told.
my @changes = (
	[ q{COMMENT ON FUNCTION smartlead_ping(name) IS 'x'}, qr/function public.smartlead_ping\(.*: comment: x/ ],
	[ q{COMMENT ON TABLE smartlead_queue IS 'x'}, qr/table public.smartlead_queue: comment: x/ ],
	[ q{COMMENT ON COLUMN smartlead_queue.id IS NULL}, qr/- table public.smartlead_queue column id: comment/ ],
	[ q{COMMENT ON COLUMN smartlead_webhook.id IS 'x'}, qr/type public.smartlead_webhook column id: comment: x/ ],
	[ q{COMMENT ON POLICY own_jobs ON smartlead_queue IS 'x'}, qr/smartlead_queue: policy own_jobs: .* x$/ ],
	[ q{COMMENT ON TYPE smartlead_campaign IS 'x'}, qr/type public.smartlead_campaign: comment: x/ ],
	[ q{COMMENT ON EXTENSION smartlead IS 'x'}, qr/\+ extension: comment: x/ ],
	[ q{COMMENT ON EVENT TRIGGER smartlead_server_renamed IS 'x'}, qr/event trigger smartlead_server_renamed: comment: x/ ],
	[ q{COMMENT ON FOREIGN DATA WRAPPER smartlead IS 'x'}, qr/wrapper smartlead: comment: x/ ],
	[ q{COMMENT ON VIEW smartlead_workers IS 'x'}, qr/view public.smartlead_workers: comment: x/ ],
	[ q{COMMENT ON INDEX smartlead_queue_ready IS 'x'}, qr/index public.smartlead_queue_ready: .* x$/ ],
	[ q{COMMENT ON CONSTRAINT smartlead_queue_pkey ON smartlead_queue IS 'x'}, qr/constraint smartlead_queue_pkey: .* x$/ ],
	[ q{COMMENT ON TRIGGER smartlead_content_changed ON smartlead_webhooks IS 'x'}, qr/smartlead_webhooks: trigger smartlead_content_changed: .* x$/ ],
	[ q{COMMENT ON CAST (oid AS smartlead_role) IS 'x'}, qr/cast \(pg_catalog.oid AS .*: comment: x/ ],
	[ q{COMMENT ON TABLE smartlead_events IS 'x'}, qr/table public.smartlead_events: comment: x/ ],

	[ q{GRANT EXECUTE ON FUNCTION smartlead_enqueue(text, jsonb, timestamptz, name, integer) TO PUBLIC}, qr/smartlead_enqueue\(.*: may: .*PUBLIC=EXECUTE/ ],
	[ q{GRANT SELECT ON smartlead_webhook_tokens TO smartlead_admin}, qr/smartlead_webhook_tokens: may: .*smartlead_admin=SELECT/ ],
	[ q{GRANT SELECT (secret_key) ON smartlead_webhooks TO smartlead_admin}, qr/smartlead_webhooks column secret_key: may: smartlead_admin=SELECT/ ],
	[ q{GRANT USAGE ON SEQUENCE smartlead_queue_id_seq TO smartlead_user}, qr/smartlead_queue_id_seq: may: .*smartlead_user=USAGE/ ],
	[ q{REVOKE USAGE ON TYPE smartlead_role FROM PUBLIC}, qr/- type public.smartlead_role: may: PUBLIC=USAGE/ ],
	[ q{GRANT USAGE ON FOREIGN DATA WRAPPER smartlead TO smartlead_admin WITH GRANT OPTION}, qr/wrapper smartlead: may: .*smartlead_admin=USAGE\*/ ],
	[ q{DELETE FROM pg_init_privs WHERE objoid = 'smartlead_queue'::regclass}, qr/- table public.smartlead_queue: initially may/ ],
	[ q{ALTER VIEW smartlead_stat_queue OWNER TO other}, qr/smartlead_stat_queue: owner: other/ ],
	[ q{ALTER FUNCTION smartlead_wait(bigint, interval) OWNER TO other}, qr/smartlead_wait\(.*: owner: other/ ],

	[ q{ALTER TABLE smartlead_queue ALTER priority SET DEFAULT 6}, qr/smartlead_queue column priority: default: 6/ ],
	[ q{ALTER TABLE smartlead_webhooks ALTER name SET NOT NULL}, qr/smartlead_webhooks column name: not null: true/ ],
	[ q{ALTER TABLE smartlead_failed_events ALTER request_id TYPE varchar(10)}, qr/smartlead_failed_events column request_id: type: character varying\(10\)/ ],
	[ q{ALTER TABLE smartlead_failed_events ALTER event_type TYPE text COLLATE "C"}, qr/column event_type: collation: "C"/ ],
	[ q{ALTER TABLE smartlead_failed_events ALTER payload SET STORAGE EXTERNAL}, qr/column payload: storage: e/ ],
	[ q{ALTER TABLE smartlead_failed_events ALTER webhook SET STATISTICS 7}, qr/column webhook: statistics: 7/ ],
	[ q{ALTER TABLE smartlead_failed_events ALTER connection SET (n_distinct = 7)}, qr/column connection: options: n_distinct=7/ ],
	[ q{ALTER TABLE smartlead_failed_events ALTER id SET GENERATED BY DEFAULT}, qr/column id: identity: d/ ],
	[ q{ALTER TABLE smartlead_webhook_tokens ADD COLUMN more text}, qr/\+ .*smartlead_webhook_tokens column more: type: text/ ],
	[ q{ALTER TABLE smartlead_webhook_tokens DROP COLUMN created_at}, qr/\+ .*smartlead_webhook_tokens column expires_at: place: 3/ ],
	[ q{ALTER TYPE smartlead_webhook ADD ATTRIBUTE more text}, qr/type public.smartlead_webhook column more: type: text/ ],
	[ q{ALTER TABLE smartlead_webhooks ADD CHECK (id > 0) NOT VALID}, qr/smartlead_webhooks: constraint \w+: CHECK .* \(not validated\)/ ],
	[ q{DROP INDEX smartlead_queue_error}, qr/- .*index public.smartlead_queue_error/ ],
	[ q{CREATE INDEX more ON smartlead_webhooks (id)}, qr/smartlead_webhooks: index public.more/ ],
	[ q{CREATE STATISTICS more ON id, level FROM smartlead_webhooks}, qr/smartlead_webhooks: statistics more/ ],
	[ q{CREATE RULE more AS ON DELETE TO smartlead_webhooks DO NOTHING}, qr/smartlead_webhooks: rule more/ ],
	[ q{ALTER TABLE smartlead_automations DISABLE TRIGGER smartlead_content_changed}, qr/smartlead_automations: trigger smartlead_content_changed: .* D$/ ],
	[ q{ALTER POLICY administrators ON smartlead_queue USING (false)}, qr/smartlead_queue: policy administrators: .* using false/ ],
	[ q{ALTER POLICY administrators ON smartlead_queue_paused TO smartlead_user}, qr/smartlead_queue_paused: policy administrators: .* to smartlead_user/ ],
	[ q{DROP POLICY administrators ON smartlead_automations}, qr/- .*smartlead_automations: policy administrators/ ],
	[ q{ALTER TABLE smartlead_automations DISABLE ROW LEVEL SECURITY}, qr/smartlead_automations: row security: false/ ],
	[ q{ALTER TABLE smartlead_automations FORCE ROW LEVEL SECURITY}, qr/smartlead_automations: forced row security: true/ ],
	[ q{ALTER TABLE smartlead_automations REPLICA IDENTITY FULL}, qr/smartlead_automations: replica identity: f/ ],
	[ q{ALTER TABLE smartlead_automations SET (fillfactor = 70)}, qr/smartlead_automations: options: .*fillfactor=70/ ],
	[ q{ALTER TABLE smartlead_automations SET (toast.autovacuum_enabled = off)}, qr/smartlead_automations: toast options: .*autovacuum_enabled/ ],
	[ q{ALTER TABLE smartlead_queue_paused SET UNLOGGED}, qr/smartlead_queue_paused: persistence: u/ ],
	[ q{ALTER VIEW smartlead_workers RESET (security_barrier)}, qr/- view public.smartlead_workers: options/ ],
	[ q{ALTER VIEW smartlead_workers RENAME trouble TO troubles}, qr/\+ view public.smartlead_workers: view: .* AS troubles/ ],
	[ q{ALTER SEQUENCE smartlead_queue_id_seq INCREMENT 2}, qr/smartlead_queue_id_seq: sequence: bigint 1 2 / ],

	[ q{ALTER FUNCTION smartlead_ping(name) STABLE COST 7}, qr/smartlead_ping\(.*: definition: .* STABLE .*COST 7/ ],
	[ q{ALTER FUNCTION smartlead_cancel(bigint) SECURITY DEFINER}, qr/smartlead_cancel\(.*: definition: .* SECURITY DEFINER/ ],
	[ q{ALTER FUNCTION smartlead_requeue(bigint) SET search_path = public}, qr/smartlead_requeue\(.*: definition: .* SET search_path/ ],
	[ q{CREATE OR REPLACE FUNCTION smartlead_drop_automation(automation bigint) RETURNS boolean LANGUAGE sql STRICT SET search_path = pg_catalog, pg_temp AS 'SELECT true'},
		qr/smartlead_drop_automation\(.*: definition: .*SELECT true/ ],
	[ q{ALTER EXTENSION smartlead DROP FUNCTION smartlead_stat_reset()}, qr/- function public.smartlead_stat_reset\(\): member: yes/ ],
	[ q{ALTER TYPE smartlead_role SET (RECEIVE = NONE)}, qr/\+ type public.smartlead_role: functions: public.smartlead_role_in public.smartlead_role_out - / ],
	[ q{UPDATE pg_cast SET castcontext = 'e' WHERE castsource = 'smartlead_role'::regtype AND casttarget = 'oid'::regtype}, qr/AS pg_catalog.oid\): cast: e b/ ],
	[ q{ALTER FOREIGN DATA WRAPPER smartlead NO VALIDATOR}, qr/- foreign-data wrapper smartlead: wrapper: public.smartlead_fdw_validator/ ],
	[ q{ALTER EVENT TRIGGER smartlead_server_renamed DISABLE}, qr/smartlead_server_renamed: event trigger: ddl_command_end D/ ],
	[ q{UPDATE pg_extension SET extcondition[array_position(extconfig, 'smartlead_webhooks'::regclass::oid)] = 'WHERE id > 1' WHERE extname = 'smartlead'},
		qr/rows are dumped of public.smartlead_webhooks: WHERE id > 1/ ],
	[ q{UPDATE pg_extension SET extconfig = extconfig[2:], extcondition = extcondition[2:] WHERE extname = 'smartlead'}, qr/- extension: rows are dumped of/ ],
);
$node->safe_psql('postgres', 'CREATE ROLE other');
$node->safe_psql('postgres', 'CREATE DATABASE changed');
$node->safe_psql('changed', 'CREATE EXTENSION smartlead');
$node->safe_psql($_, 'SELECT smartlead_create_events()') for 'fresh', 'changed';
my @with = (with => ['smartlead_events']);
my @original = extension_objects($node, 'fresh', @with);
is(differences(\@original, [ extension_objects($node, 'changed', @with) ]), '', 'two installations are the same');
$node->safe_psql('changed', "SET allow_system_table_mods = on;\n" . join ";\n", map { $_->[0] } @changes);
my @told = split /\n/, differences(\@original, [ extension_objects($node, 'changed', @with) ]);
my @unseen = grep { my $line = $_->[1]; !grep { /$line/ } @told } @changes;
is(join("\n", map { $_->[0] } @unseen), '', scalar(@changes) . ' kinds of change are seen');
$node->safe_psql('changed', 'CREATE OPERATOR ### (PROCEDURE = textcat, LEFTARG = text, RIGHTARG = text); ALTER EXTENSION smartlead ADD OPERATOR ### (text, text)');
ok(!eval { extension_objects($node, 'changed'); 1 }, 'what it knows nothing of is an error');
like($@, qr/nobody has told .* operator public.###/, 'which names it');

# ---- versions that can be upgraded ----

$node->safe_psql('postgres', 'CREATE ROLE app LOGIN; GRANT smartlead_admin TO app;');
my @versions = split /\n/, $node->safe_psql('postgres', "SELECT version FROM pg_available_extension_versions WHERE name = 'smartlead' AND version <> '$default' ORDER BY 1");
is(join(' ', grep { /^0\.[89]$/ } @versions), '0.8 0.9', 'versions to be upgraded from: ' . join ', ', @versions);
is($node->safe_psql('postgres', "SELECT string_agg(source, ' ') FROM pg_extension_update_paths('smartlead') WHERE target = '$default' AND source <> '$default' AND path IS NULL"),
	'', "each version has a way to $default");
try_upgrade($_) for @versions;

$node->stop;
done_testing();
