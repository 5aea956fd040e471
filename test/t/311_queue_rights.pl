# Whose actions the queue performs, and which: what a role may call, it may enqueue, and nothing else;
# and what it may no longer call when the job's turn comes, it may no longer have done.
use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use SmartleadTest;

my $node = smartlead_node('main', conf => "smartlead.databases = 'postgres'\nsmartlead.port = " . free_port());
my $json = JSON::PP->new->canonical;

sub query
{
	return $node->safe_psql('postgres', $_[0]);
}

# What a role's statement answers, or its error.
sub as
{
	my ($role, $sql) = @_;
	my ($code, $out, $err) =
	  $node->psql('postgres', "\\set VERBOSITY verbose\n$sql", extra_params => [ '-U', $role ]);
	return $code == 0 ? $out : $err =~ s/^psql:<stdin>:\d+: //r;
}

sub outcome
{
	my ($job) = @_;
	return query("SELECT state, sqlstate FROM smartlead_wait($job)");
}

# The rows of the endpoint table: name, values that fit for the required arguments, and, since an
# update must change something, for the first others in the body too.
sub endpoints
{
	my %value = ('bigint' => 1, 'integer' => 5, 'numeric' => 1, 'bigint[]' => [1], 'integer[]' => [1], 'date' => '2026-01-01', 'boolean' => \1, 'jsonb' => { a => 1 }, 'text' => 'a.example',
		'text[]' => ['a.example'], 'timestamp with time zone' => '2026-01-01');
	my @rows;

	foreach my $line (split /\n/, query(q{SELECT to_jsonb(e) FROM smartlead_endpoints() e}))
	{
		my $row = $json->decode($line);
		my %args;

		foreach my $i (0 .. $#{ $row->{arguments} })
		{
			my $name = $row->{arguments}[$i];
			$args{$name} = $value{ $row->{types}[$i] } // 'a.example'
			  if $row->{required}[$i] || $row->{name} =~ /^update_(?:lead|email_account)$/ && $name =~ /^(?:first|from)_name$/;
		}
		push @rows, { name => $row->{name}, args => \%args, listing => $row->{kind} eq 'listing', internal => $row->{internal}, administrators => $row->{administrators} };
	}
	return @rows;
}

query(q{CREATE ROLE dana LOGIN; CREATE ROLE erin LOGIN; GRANT smartlead_user TO dana, erin;
	DROP USER MAPPING FOR CURRENT_USER SERVER sandbox;
	CREATE USER MAPPING FOR PUBLIC SERVER sandbox OPTIONS (api_key 'sandbox-key-alpha');
	GRANT USAGE ON FOREIGN SERVER sandbox TO PUBLIC});

# ---- S1: what has no function ----

my $later = "now() + interval '1 day'";
my @rows = endpoints();
cmp_ok(scalar(@rows), '>', 25, 'the endpoint table is read');
my ($allowed, @faults) = (0);
foreach my $row (@rows)
{
	my $args = $json->encode($row->{args});
	my $said = as('dana', "SELECT smartlead_enqueue('$row->{name}', '$args', $later)");

	if ($row->{listing})
	{
		push @faults, "$row->{name}: $said" unless $said =~ /ERROR/;
	}
	elsif ($row->{administrators})
	{
		push @faults, "$row->{name} $args: $said" unless $said =~ /ERROR:  42501/;
	}
	elsif ($row->{internal})
	{
		push @faults, "$row->{name} $args: $said" unless $said =~ /ERROR:  42501/;
		my $automation = as('postgres',
			"SELECT smartlead_automate('EMAIL_SENT', '$row->{name}', '$args')");
		push @faults, "automation $row->{name}: $automation" unless $automation =~ /ERROR:  42501/;
	}
	else
	{
		# Values come after rights: what is wrong with them is none of this test's.
		push @faults, "$row->{name} $args: $said" unless $said =~ /^\d+$|ERROR:  22023: (?:argument "\w+" of "\w+" (?:must|has)|"\w+" was given nothing)/;
		$allowed++;
	}
}
is(join("\n", @faults), '', 'S1: each row of the endpoint table can be enqueued exactly if there is a function of its arguments');
cmp_ok($allowed, '>', 15, 'S1: many can');
like(as('dana', q{SELECT smartlead_enqueue('delete_webhook', '{"webhook_id": 1}')}), qr/ERROR:  42501/, 'S1: a webhook is not deleted by the queue');
like(as('postgres', q{SELECT smartlead_enqueue('create_campaign_webhook', '{"campaign_id": 1, "name": "x", "webhook_url": "https://x.example",
	"event_types": [], "categories": []}')}), qr/ERROR:  42501/, 'S1: nor made, not even for a superuser');
like(as('dana', qq{SELECT smartlead_enqueue('update_lead_category', '{"campaign_id": 1, "lead_id": 2, "category": "x", "category_id": 3}', $later)}),
	qr/ERROR:  (?:42501|22023)/, 'S1: arguments that no function takes together');
query(q{GRANT CREATE ON SCHEMA public TO dana});
like(as('dana', q{CREATE FUNCTION smartlead_delete_webhook(webhook_id bigint) RETURNS bigint LANGUAGE sql AS 'SELECT $1';
	SELECT smartlead_enqueue('delete_webhook', '{"webhook_id": 1}')}), qr/ERROR:  42501/, 'S1: a function of the user\'s own is none of ours');
query(q{REVOKE EXECUTE ON FUNCTION smartlead_get_lead(text, name) FROM smartlead_user});
like(as('dana', qq{SELECT smartlead_enqueue('get_lead', '{"email": "a\@b.example"}', $later)}), qr/ERROR:  42501/,
	'S1: the function of these arguments counts');
like(as('dana', qq{SELECT smartlead_enqueue('get_lead', '{"lead_id": 3}', $later)}), qr/^\d+$/, 'S1: not its namesake');

# ---- S2: when the job runs ----

my $ada = '{"campaign_id": 549768, "lead_id": 3499513771}';
my $bo = '{"campaign_id": 600001, "lead_id": 3600000010}';
ok($node->poll_query_until('postgres', q{SELECT EXISTS (SELECT FROM smartlead_workers WHERE worker = 'dispatcher' AND state = 'running')}), 'the dispatcher runs');
my %job = map { $_ => as($_, "SELECT smartlead_enqueue('delete_lead', '$ada', $later)") } qw(dana erin);
query('REVOKE smartlead_user FROM dana');
query("UPDATE smartlead_queue SET run_at = now(), due_at = now() WHERE id IN ($job{dana})");
my $other = as('erin', "SELECT smartlead_enqueue('pause_lead', '$bo')");
is(outcome($job{dana}), 'failed|42501', 'S2: the right to the function counts when the job runs');
is(outcome($other), 'done|', 'S2: others are performed');
is(sandbox_get('/_sandbox/state/leads/549768/3499513771')->{status} ne '', 1, 'S2: the lead was not deleted');
query('GRANT smartlead_user TO dana');
my $joined = join ',', split /\n/, as('dana',
	"SELECT smartlead_enqueue('block_domain', jsonb_build_object('domain', 'd' || i || '.example'), $later) FROM generate_series(1, 3) i");
query("REVOKE EXECUTE ON FUNCTION smartlead_block_domain(text, bigint, name) FROM smartlead_user;
	UPDATE smartlead_queue SET run_at = now(), due_at = now() WHERE id IN ($joined)");
$other = as('erin', "SELECT smartlead_enqueue('pause_lead', '$bo')");
is(outcome($other), 'done|', 'S2: one that goes on');
is(join(' ', map { outcome($_) } split /,/, $joined), 'failed|42501 failed|42501 failed|42501', 'S2: that holds for jobs that share a request, too');
query("REVOKE USAGE ON FOREIGN SERVER sandbox FROM PUBLIC; GRANT USAGE ON FOREIGN SERVER sandbox TO dana;
	UPDATE smartlead_queue SET run_at = now(), due_at = now() WHERE id = $job{erin}");
as('dana', "SELECT smartlead_enqueue('pause_lead', '$bo')");
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM smartlead_queue_paused WHERE run_as = 'erin'::regrole AND sqlstate = '42501'}),
	'S2: so does the one to the connection');
is(query("SELECT state FROM smartlead_queue WHERE id = $job{erin}"), 'ready', 'S2: without which the job waits');
query("UPDATE smartlead_queue SET run_at = $later, due_at = $later WHERE id = $job{erin}; GRANT USAGE ON FOREIGN SERVER sandbox TO PUBLIC");
query("DROP USER MAPPING FOR PUBLIC SERVER sandbox; CREATE USER MAPPING FOR dana SERVER sandbox OPTIONS (api_key 'sandbox-key-alpha');
	DELETE FROM smartlead_queue_paused; UPDATE smartlead_queue SET run_at = now(), due_at = now() WHERE id = $job{erin}");
as('dana', "SELECT smartlead_enqueue('pause_lead', '$bo')");
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM smartlead_queue_paused WHERE run_as = 'erin'::regrole AND sqlstate = '42704'}),
	'S2: and the user mapping');
is(sandbox_get('/_sandbox/state/leads/549768/3499513771')->{status} ne '', 1, 'S2: the lead is still there');

# ---- Q11: a connection that is renamed ----

query(q{DROP USER MAPPING FOR dana SERVER sandbox; CREATE USER MAPPING FOR PUBLIC SERVER sandbox OPTIONS (api_key 'sandbox-key-alpha');
	CREATE ROLE keeper; GRANT USAGE ON FOREIGN DATA WRAPPER smartlead TO keeper; ALTER SERVER sandbox OWNER TO keeper;
	SELECT smartlead_create_events();
	CREATE FUNCTION count_updates() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE $$as %$$, current_user; END';
	CREATE TRIGGER count_updates BEFORE UPDATE ON smartlead_events FOR EACH ROW EXECUTE FUNCTION count_updates();
	SELECT smartlead_webhook_url('sandbox');
	SELECT smartlead_automate('EMAIL_SENT', 'get_campaign', '{"campaign_id": "$campaign_id"}', connection => 'sandbox');
	INSERT INTO smartlead_events (id, connection, fingerprint, event_at, payload)
		SELECT n, c, gen_random_uuid(), now(), '{}' FROM unnest(ARRAY['sandbox', 'elsewhere']) WITH ORDINALITY u (c, n);
	INSERT INTO smartlead_failed_events (received_at, connection, payload, sqlstate, error) VALUES (now(), 'sandbox', '{}', 'XX000', 'x');
	INSERT INTO smartlead_queue_paused (connection, run_as, reason, sqlstate, version) SELECT c, 'keeper', c, 'SL401', 'none' FROM unnest(ARRAY['sandbox', 'sales']) c});
my $renamed = as('postgres', "SELECT smartlead_enqueue('pause_lead', '$bo', now() + interval '1 hour', 'sandbox')");
query('BEGIN; ALTER SERVER sandbox RENAME TO nowhere; ROLLBACK');
is(query("SELECT connection FROM smartlead_queue WHERE id = $renamed"), 'sandbox', 'Q11: a rename that is rolled back is none');
# Where a connection of the new name has left a pause behind.
is(($node->psql('postgres', 'SET ROLE keeper; ALTER SERVER sandbox RENAME TO sales'))[2], '', 'Q11: a connection is renamed, whoever does it, and no trigger on events runs');
is(query("SELECT string_agg(DISTINCT connection, ',') FROM $_ WHERE connection <> 'elsewhere'"), 'sales', "Q11: $_ follows")
	foreach qw(smartlead_queue smartlead_queue_paused smartlead_automations smartlead_webhooks smartlead_events smartlead_failed_events);
is(query(q{SELECT reason FROM smartlead_queue_paused WHERE run_as = 'keeper'::regrole}), 'sandbox', 'Q11: a pause with its reason');
query("UPDATE smartlead_queue SET run_at = now(), due_at = now() WHERE id = $renamed");
# Not by default: it belongs to a role that the default doesn't trust.
is(outcome(as('postgres', "SELECT smartlead_enqueue('pause_lead', '$bo', connection => 'sales')")), 'done|', 'Q11: what is new is performed');
is(outcome($renamed), 'done|', 'Q11: and what is old');
query('CREATE FOREIGN DATA WRAPPER other; CREATE SERVER elsewhere FOREIGN DATA WRAPPER other; ALTER SERVER elsewhere RENAME TO elsewhere2');
is(query(q{SELECT connection FROM smartlead_events WHERE connection LIKE 'elsewhere%'}), 'elsewhere', 'Q11: a server that is no connection takes nothing along');

$node->stop;
done_testing();
