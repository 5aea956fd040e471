# A database that is dumped and restored, cloned or failed over to, with all that users have put on the events: there
# it is as it was, reacts to what comes, takes no repetition for an event, and performs no job before it is told.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use SmartleadObjects;
use SmartleadTest;
use WebhookTest;

my $tmp = $PostgreSQL::Test::Utils::tmp_check;
my $port = free_port();
my $node = smartlead_node('main', extension => 0, init => [ allows_streaming => 1 ],
	conf => "max_worker_processes = 24\nsmartlead.databases = 'crm'\nsmartlead.port = $port");
my $number = 0;

sub query
{
	my ($sql, $database, $where) = @_;
	return ($where || $node)->safe_psql($database || 'crm', $sql);
}

sub event
{
	my ($type, $lead, %more) = @_;
	$number++;
	return { event_type => $type, stats_id => "s$number", to_email => $lead, lead_email => $lead, campaign_id => 600001,
		sl_email_lead_id => 3600000000 + $number, event_timestamp => '2026-03-03T09:00:00Z', %more };
}

# How often Smartlead was asked to pause that lead.
sub times_paused
{
	my ($lead) = @_;
	return scalar grep { $_->{path} =~ m{/leads/$lead/pause$} } @{ sandbox_get('/_sandbox/log') };
}

sub enqueue
{
	my ($lead, $database, $where) = @_;
	return query(qq{SELECT smartlead_enqueue('pause_lead', '{"campaign_id": 600001, "lead_id": $lead}', connection => 'sandbox')}, $database, $where);
}

# Workers for these databases, each with a port of its own.
sub serve
{
	my ($where, %port_of) = @_;
	query("ALTER DATABASE $_ SET smartlead.port = $port_of{$_}", 'postgres', $where) for keys %port_of;
	query("ALTER SYSTEM SET smartlead.databases = '@{[join ', ', keys %port_of]}'", 'postgres', $where);
	$where->reload;
	receiver_listens($port_of{$_}) or BAIL_OUT("no receiver for $_") for keys %port_of;
	return;
}

# ---- the original ----

start_sandbox();
query('CREATE ROLE app LOGIN; CREATE ROLE bob; CREATE ROLE gone; CREATE DATABASE crm;', 'postgres');
query('CREATE EXTENSION smartlead');
query('GRANT smartlead_admin TO app, gone; GRANT smartlead_user TO bob');
connect_sandbox($node, database => 'crm', user => 'PUBLIC', name => $_) for qw(hooks sandbox);
query(q{GRANT USAGE ON FOREIGN SERVER hooks, sandbox TO smartlead_user, smartlead_admin;
	CREATE USER MAPPING FOR bob SERVER sandbox OPTIONS (api_key 'sandbox-key-alpha');
	CREATE SCHEMA crm AUTHORIZATION app});
receiver_listens($port) or BAIL_OUT('no receiver');
my $url = webhook_url($node, database => 'crm');
my $gones = webhook_url($node, database => 'crm', user => 'gone');
query(q{SET ROLE app;
	CREATE TABLE crm.seen (id bigint, lead text);
	GRANT USAGE ON SCHEMA crm TO smartlead_admin;
	GRANT INSERT ON crm.seen TO smartlead_admin;
	CREATE FUNCTION crm.on_event() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		IF NEW.lead_email LIKE 'bad@%' THEN RAISE 'a bad one'; END IF;
		INSERT INTO crm.seen VALUES (NEW.id, NEW.lead_email);
		RETURN NULL;
	END $$;
	CREATE TRIGGER on_event AFTER INSERT ON smartlead_events FOR EACH ROW EXECUTE FUNCTION crm.on_event();
	COMMENT ON TRIGGER on_event ON smartlead_events IS 'ours';
	ALTER TABLE smartlead_events ADD COLUMN domain text GENERATED ALWAYS AS (split_part(lead_email, '@', 2)) STORED, ADD COLUMN note text DEFAULT 'new';
	CREATE POLICY of_the_clinic ON smartlead_events AS RESTRICTIVE FOR SELECT TO bob USING (domain = 'clinic.example');
	CREATE VIEW crm.replies AS SELECT id, lead_email, domain FROM smartlead_events WHERE kind = 'EMAIL_REPLY';
	SELECT smartlead_automate('EMAIL_LINK_CLICK', 'pause_lead', '{"campaign_id": "$campaign_id", "lead_id": "$lead_id"}', connection => 'hooks');
	RESET ROLE; SET ROLE gone;
	SELECT smartlead_automate('EMAIL_BOUNCE', 'pause_lead', '{"campaign_id": "$campaign_id", "lead_id": "$lead_id"}');
	RESET ROLE;
	CREATE INDEX by_domain ON smartlead_events (domain, id)});
my $reply = event('EMAIL_REPLY', 'ada@clinic.example');
my $category = { event_type => 'LEAD_CATEGORY_UPDATED', campaign_id => 600001, lead_email => 'chi@clinic.example', lead_category => { new_name => 'Interested' } };
is(send_event($url, $_), 200, 'an event') for $reply, $category, event('EMAIL_OPEN', 'bjorn@tand.example'), event('EMAIL_OPEN', 'bad@clinic.example');
is(send_event($gones, event('EMAIL_OPEN', 'emil@gone.example')), 200, q{one of another role's webhook});
is(query('SELECT count(*) FROM crm.seen'), 4, 'the trigger has seen what was stored');
is(query('SELECT count(*) FROM smartlead_failed_events'), 1, 'and one event failed');
is(query('SELECT state FROM smartlead_wait(' . enqueue(3600001001) . ')'), 'done', 'a job is done');
is(query('SELECT state FROM smartlead_wait(' . enqueue(77) . ')'), 'failed', 'another one fails');
query('ALTER SYSTEM SET smartlead.perform_jobs = off', 'postgres');
$node->reload;
ok($node->poll_query_until('crm', q{SELECT state = 'waiting' FROM smartlead_workers WHERE worker = 'dispatcher'}), 'the dispatcher performs nothing now');
enqueue(3600001002);
query(qq{SET ROLE bob; SELECT smartlead_enqueue('pause_lead', '{"campaign_id": 600001, "lead_id": 3600001003}', connection => 'sandbox')});
query("UPDATE smartlead_queue SET state = 'running' WHERE id = " . enqueue(3600001004));
query(q{SET ROLE gone; SELECT smartlead_enqueue('pause_lead', '{"campaign_id": 600001, "lead_id": 3600001005}', connection => 'sandbox')});

my $last = query('SELECT max(id) FROM smartlead_events');
my @with = (with => ['smartlead_events']);
my @original = extension_objects($node, 'crm', @with);

# ---- dumps, as they are made ----

my %dump = map { $_ => "$tmp/restore.$_" } qw(plain custom directory schema data public);
my %made_with = (plain => ['-Fp'], custom => ['-Fc'], directory => [ '-Fd', '-j2' ], schema => [ '-Fp', '--schema-only' ],
	data => [ '-Fp', '--data-only', '--disable-triggers' ], public => [ '-Fp', '-n', 'public', '-n', 'crm' ]);
$node->command_ok([ 'pg_dump', @{ $made_with{$_} }, '-f', $dump{$_}, $node->connstr('crm') ], "a dump: $_") for sort keys %dump;
$node->command_ok([ 'pg_dumpall', '--roles-only', '-f', "$tmp/restore.roles", '-d', $node->connstr('postgres') ], 'the roles');

# Rows that belong to nobody's state alone: what the copy must have exactly as the original.
sub contents
{
	my ($database, $where) = @_;
	return query(q{
		SELECT concat_ws(' ', 'event', id, kind, lead_email, fingerprint, domain, note) FROM smartlead_events
		UNION ALL SELECT concat_ws(' ', 'key', fingerprint, event_id, subject, content) FROM smartlead_event_keys
		UNION ALL SELECT concat_ws(' ', 'failed', id, error, payload) FROM smartlead_failed_events
		UNION ALL SELECT concat_ws(' ', 'webhook', id, connection, level) FROM smartlead_webhooks
		UNION ALL SELECT concat_ws(' ', 'token', token_hash, webhook) FROM smartlead_webhook_tokens
		UNION ALL SELECT concat_ws(' ', 'automation', id, event_type, action, args) FROM smartlead_automations
		UNION ALL SELECT concat_ws(' ', 'job', id, state, args, run_as_name, home) FROM smartlead_queue
		UNION ALL SELECT concat_ws(' ', 'trigger', id, lead) FROM crm.seen ORDER BY 1}, $database, $where);
}

my $contents = contents();

# ---- what a copy does ----

sub is_as_it_was
{
	my ($what, $database, $where) = @_;
	is(differences(\@original, [ extension_objects($where, $database, @with) ]), '',
		"Q14: $what: the extension and the events are as they were, with trigger, index, policy, columns, comments");
	return is(contents($database, $where), $contents, "Q14: $what: all rows are there");
}

# Of a copy whose workers run: it reacts, and knows what came before.
sub reacts
{
	my ($what, $database, $where, $at, %option) = @_;
	my $its_url = $url =~ s/:$port/:$at/r;
	my $known = query('SELECT count(*) FROM smartlead_events', $database, $where);
	my $new = event('EMAIL_REPLY', "new$number\@clinic.example");
	is(send_event($its_url, $_), 200, "Q14: $what: a delivery from before comes again") for $reply, $category;
	is(query('SELECT count(*) FROM smartlead_events', $database, $where), $known, "Q14: $what: and adds nothing");
	is(send_event($its_url, $new), 200, "Q14: $what: a webhook that was there already brings an event");
	is(query("SELECT count(*), bool_and(e.id > $last AND e.domain = 'clinic.example' AND e.note = 'new') FROM smartlead_events e JOIN crm.seen s USING (id) WHERE e.lead_email = '$new->{lead_email}'", $database, $where),
		'1|t', "Q14: $what: the trigger acts, the columns are filled, the id is above all of before");
	is(query("SELECT string_agg(lead_email, ' ') FROM smartlead_new_events($last)", $database, $where), $new->{lead_email}, "Q14: $what: reading on goes on");
	is(query("SET ROLE bob; SELECT count(*) FROM smartlead_events WHERE domain <> 'clinic.example'", $database, $where),
		$option{bob} // 0, "Q14: $what: row security holds");
	query(q{CREATE OR REPLACE FUNCTION crm.on_event() RETURNS trigger LANGUAGE plpgsql AS
		$$ BEGIN INSERT INTO crm.seen VALUES (NEW.id, NEW.lead_email); RETURN NULL; END $$}, $database, $where);
	like(query('SET ROLE app; SELECT smartlead_retry_event(id) FROM smartlead_failed_events', $database, $where), qr/^\d+$/, "Q14: $what: a failed event is tried again");
	return;
}

# Nothing of the queue is performed, automations enqueue; after the adoption all is, once.
sub waits_and_is_adopted
{
	my ($what, $database, $where, $at) = @_;
	my $click = event('EMAIL_LINK_CLICK', 'ada@clinic.example');
	my $lead = $click->{sl_email_lead_id};
	my @leads = ($lead, 3600001002, 3600001003, 3600001004);
	my %before = map { $_ => times_paused($_) } @leads;
	ok($where->poll_query_until($database, q{SELECT state = 'waiting' AND trouble LIKE '%smartlead_adopt_queue()%' FROM smartlead_workers WHERE worker = 'dispatcher'}),
		"Q14: $what: the queue waits, and says what to do");
	is(send_event($url =~ s/:$port/:$at/r, $click), 200, 'an event for an automation');
	is(query("SELECT count(*) FROM smartlead_queue WHERE event_subject IS NOT NULL AND state = 'ready' AND args->>'lead_id' = '$lead'", $database, $where),
		1, "Q14: $what: an automation enqueues");
	is(query("SELECT state FROM smartlead_wait((SELECT max(id) FROM smartlead_queue), '2 s')", $database, $where), 'ready', "Q14: $what: nothing is performed");
	is_deeply({ map { $_ => times_paused($_) } @leads }, \%before, "Q14: $what: Smartlead was asked nothing");
	is(query('SET ROLE app; SELECT smartlead_adopt_queue()', $database, $where), 3, "Q14: $what: the queue is adopted");
	ok($where->poll_query_until($database, q{SELECT count(*) = 0 FROM smartlead_queue WHERE state IN ('ready', 'running') AND run_as_name <> 'gone'}), 'and performed');
	is_deeply({ map { $_ => times_paused($_) - $before{$_} } @leads }, { $lead => 1, 3600001002 => 1, 3600001003 => 1, 3600001004 => 0 },
		"Q14: $what: once; what was running when it was copied isn't");
	is(query("SELECT state, sqlstate FROM smartlead_queue WHERE args->>'lead_id' = '3600001004'", $database, $where), 'failed|SL520', 'but ends as unknown');
	return;
}

sub restored
{
	my ($what, $database, $where, $command) = @_;
	query("CREATE DATABASE $database TEMPLATE template0", 'postgres', $where);
	$where->command_ok($command, "Q14: $what: it is restored without an error");
	is_as_it_was($what, $database, $where);
	my $at = free_port();
	serve($where, $database => $at);
	reacts($what, $database, $where, $at);
	return $at;
}

sub psql_command
{
	my ($where, $database, $file) = @_;
	return [ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', $file, $where->connstr($database) ];
}

# ---- into another cluster, in three forms ----

my $other = PostgreSQL::Test::Cluster->new('other');
$other->init;
$other->append_conf('postgresql.conf', "shared_preload_libraries = 'smartlead'\nmax_worker_processes = 24");
$other->start;
my $roles = slurp_file("$tmp/restore.roles") =~ s/^(?:CREATE|ALTER) ROLE ${\superuser($other)}\b.*\n//mgr;
append_to_file("$tmp/restore.roles.others", $roles);
$other->command_ok(psql_command($other, 'postgres', "$tmp/restore.roles.others"), 'the roles are made');
my $at = restored('plain', 'crm', $other, psql_command($other, 'crm', $dump{plain}));
waits_and_is_adopted('plain', 'crm', $other, $at);
restored('custom', 'crm2', $other, [ 'pg_restore', '-e', '-d', $other->connstr('crm2'), $dump{custom} ]);
restored('directory', 'crm3', $other, [ 'pg_restore', '-e', '-j2', '-d', $other->connstr('crm3'), $dump{directory} ]);

# ---- retention, after a restore ----

query(q{UPDATE smartlead_events SET received_at = now() - interval '3 days' WHERE kind = 'EMAIL_OPEN'}, 'crm3', $other);
query(q{ALTER SYSTEM SET smartlead.event_retention = '2d'}, 'postgres', $other);
$other->reload;
ok($other->poll_query_until('crm3', q{SELECT count(*) = 0 FROM smartlead_events WHERE kind = 'EMAIL_OPEN'}), 'Q14: retention removes what is old');
is(query(q{SELECT count(*) > 0 FROM smartlead_events WHERE kind = 'EMAIL_REPLY'}, 'crm3', $other), 't', 'Q14: and leaves the rest');
query('ALTER SYSTEM RESET smartlead.event_retention', 'postgres', $other);

# ---- where roles are missing ----

query('DROP ROLE gone', 'postgres', $other);
my $text = slurp_file($dump{plain}) =~ s/\bbob\b/nobody_there/gr;
append_to_file("$dump{plain}.roles", $text);
query('CREATE DATABASE crm4 TEMPLATE template0', 'postgres', $other);
my $log = -s $other->logfile;
$other->command_ok([ 'psql', '-X', '-q', '-f', "$dump{plain}.roles", $other->connstr('crm4') ], 'a dump is loaded where two roles are missing');
is(join(' ', sort map { /ERROR: +(.*)/ ? "$1" : () } split /\n/, substr(slurp_file($other->logfile), $log)),
	join(' ', ('role "nobody_there" does not exist') x 2), 'Q15: what names a missing role itself is an error: its user mapping, its policy');
is(contents('crm4', $other), $contents =~ s/\bbob\b/nobody_there/gr, 'Q15: all rows are there');
is(query('SELECT count(*), (SELECT count(*) FROM smartlead_automations WHERE owner = 0) FROM smartlead_webhooks WHERE subscriber = 0', 'crm4', $other), '1|1',
	q{Q15: what was the missing role's is nobody's});
$at = free_port();
serve($other, crm4 => $at);
my $gones_at = $gones =~ s/:$port/:$at/r;
my ($orphan, $bounce) = (event('EMAIL_OPEN', 'orphan@gone.example'), event('EMAIL_BOUNCE', 'ada@clinic.example'));
is(send_event($gones_at, $orphan), 200, 'Q15: its webhook is served');
is(query(q{SELECT error LIKE '%role that subscribed exists no more%' FROM smartlead_failed_events WHERE payload->>'lead_email' = 'orphan@gone.example'}, 'crm4', $other), 't',
	'Q15: its events are put aside');
is(send_event($url =~ s/:$port/:$at/r, $bounce), 200, 'Q15: others are stored');
is(query(q{SELECT state, run_as FROM smartlead_queue WHERE automation_id = 2}, 'crm4', $other), 'failed|-', q{Q15: what its automation wants is in the dead letter});
query(q{UPDATE smartlead_webhooks SET subscriber = 'app'::regrole WHERE subscriber = 0;
	UPDATE smartlead_automations SET owner = 'app'::regrole WHERE owner = 0}, 'crm4', $other);
like(query(q{SELECT smartlead_retry_event(id) FROM smartlead_failed_events WHERE payload->>'lead_email' = 'orphan@gone.example'}, 'crm4', $other), qr/^\d+$/,
	'Q15: another role takes over, with what was put aside');
is(send_event($gones_at, event('EMAIL_BOUNCE', 'orphan@gone.example')), 200, 'Q15: and with what comes');
is(query(q{SELECT string_agg(state || ' ' || run_as_name, ', ' ORDER BY id) FROM smartlead_queue WHERE automation_id = 2}, 'crm4', $other), 'failed -, ready app', 'Q15: its automation, too');

# ---- parts of a database ----

sub other_database
{
	my ($database, $prepare, @files) = @_;
	query("CREATE DATABASE $database TEMPLATE template0", 'postgres', $other);
	query($prepare, $database, $other) if $prepare;
	$other->command_ok(psql_command($other, $database, $_), "$_ is loaded") for @files;
	my $at = free_port();
	serve($other, $database => $at);
	return $at;
}

$at = other_database('crm5', undef, $dump{schema});
is(differences(\@original, [ extension_objects($other, 'crm5', @with) ]), '', 'Q14: --schema-only: all objects are there');
is(contents('crm5', $other), '', 'Q14: --schema-only: no rows');
is(send_event(webhook_url($other, database => 'crm5'), $reply), 200, 'Q14: --schema-only: subscribe, and events come');
is(query('SELECT count(*) FROM crm.seen JOIN smartlead_events USING (id)', 'crm5', $other), 1, 'Q14: --schema-only: to the trigger');
is(query('SELECT state FROM smartlead_wait(' . enqueue(3600001006, 'crm5', $other) . ')', 'crm5', $other), 'done', 'Q14: --schema-only: jobs are performed');

$at = other_database('crm6', undef, $dump{schema}, $dump{data});
is(contents('crm6', $other), $contents, 'Q14: --data-only --disable-triggers: all rows are there, and no trigger saw them come');
reacts('--data-only', 'crm6', $other, $at);
ok($other->poll_query_until('crm6', q{SELECT state = 'waiting' FROM smartlead_workers WHERE worker = 'dispatcher'}), 'Q14: --data-only: the queue waits');

append_to_file("$dump{public}.sql", slurp_file($dump{public}) =~ s/^CREATE SCHEMA public;$//mr);
$at = other_database('crm7', 'CREATE EXTENSION smartlead', "$dump{public}.sql");
is(contents('crm7', $other), $contents, 'Q14: -n: where the extension has been created before, all rows are there');
is(send_event($url =~ s/:$port/:$at/r, $reply), 200, 'Q14: -n: a delivery from before comes again');
is(query("SELECT count(*) FROM smartlead_events WHERE id > $last", 'crm7', $other), 0, 'Q14: -n: and adds nothing');
ok($other->poll_query_until('crm7', q{SELECT state = 'waiting' FROM smartlead_workers WHERE worker = 'dispatcher'}), 'Q14: -n: the queue waits');

query('CREATE DATABASE crm8 TEMPLATE template0', 'postgres', $other);
$other->command_ok([ 'pg_restore', '-e', '-O', '-x', '-d', $other->connstr('crm8'), $dump{custom} ], 'Q14: -O -x: it is restored');
query('ALTER TABLE smartlead_events OWNER TO smartlead_admin; GRANT SELECT ON smartlead_events TO smartlead_user;
	ALTER SCHEMA crm OWNER TO app; GRANT USAGE ON SCHEMA crm TO smartlead_admin; GRANT INSERT ON crm.seen TO smartlead_admin', 'crm8', $other);
$at = free_port();
serve($other, crm8 => $at);
is(send_event($url =~ s/:$port/:$at/r, event('EMAIL_REPLY', 'new@clinic.example')), 200, 'Q14: -O -x: an event comes');
is(query(q{SELECT count(*) FROM smartlead_events JOIN crm.seen USING (id) WHERE lead_email = 'new@clinic.example'}, 'crm8', $other), 1,
	'Q14: -O -x: with the owner and the rights as documented, it is stored, and the trigger acts');

# ---- CREATE DATABASE ... TEMPLATE ----

query(q{ALTER SYSTEM SET smartlead.databases = ''}, 'postgres');
$node->reload;
ok($node->poll_query_until('postgres', q{SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE datname = 'crm')}), 'no workers in the original');
query('CREATE DATABASE twin TEMPLATE crm', 'postgres');
query('ALTER SYSTEM RESET smartlead.perform_jobs', 'postgres');
is_as_it_was('TEMPLATE', 'twin', $node);
$at = free_port();
serve($node, twin => $at);
reacts('TEMPLATE', 'twin', $node, $at);
waits_and_is_adopted('TEMPLATE', 'twin', $node, $at);

# ---- a standby that is promoted ----

query('ALTER SYSTEM SET smartlead.perform_jobs = off', 'postgres');
serve($node, crm => $port);
$node->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'backup', has_streaming => 1);
$at = free_port();
$standby->append_conf('postgresql.auto.conf', 'smartlead.perform_jobs = on');
$standby->start;
query("ALTER DATABASE crm SET smartlead.port = $at", 'postgres');
$node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));
is(contents('crm', $standby), $contents, 'Q14: the standby has it all');
is(query(q{SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'smartlead%'}, 'postgres', $standby), 0, 'Q14: and no worker');
my @leads = (3600001002, 3600001003, 3600001005);
my %before = map { $_ => times_paused($_) } @leads;
$node->stop('immediate');
$standby->promote;
ok(receiver_listens($at), 'Q14: failover: a receiver listens after the promotion');
reacts('failover', 'crm', $standby, $at);
ok($standby->poll_query_until('crm', q{SELECT count(*) = 0 FROM smartlead_queue WHERE state = 'ready'}), 'Q14: failover: the queue goes on by itself');
is_deeply({ map { $_ => times_paused($_) - $before{$_} } @leads }, { map { $_ => 1 } @leads }, 'Q14: failover: each job once');

$standby->stop;
$other->stop;
done_testing();
