# What a newcomer types works to the letter: the blocks of the documents that are marked "run as ...", one after the
# other, as the role named. Only what a reader puts in as well is another one here: the key and the addresses.
#
#	<!-- postgresql.conf -->      the block that follows is added to the server's configuration, which is started anew
#	<!-- run as superuser -->     the block is run by the superuser
#	<!-- run as app -->           by an ordinary role
use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use SmartleadTest;
use WebhookTest;

my $top = dirname(dirname(dirname(abs_path(__FILE__))));
my ($ada, $bjorn, $chi, $dora) = map { 3499513770 + $_ } 1 .. 4;
my $campaign = 549768;
my ($node, $port);

start_sandbox();

# The marked blocks of a document: [who, text], ...
sub blocks_of
{
	my ($file) = @_;
	my $text = slurp_file("$top/$file");
	my @blocks;
	push @blocks, [ $1, $2 ] while $text =~ /<!-- (?:run as )?(\S+) -->\n```\w*\n(.*?)^```$/msg;
	return @blocks;
}

sub with_our_values
{
	my ($text) = @_;
	my $url = sandbox_url();
	$text =~ s/api_key '…'/api_key 'sandbox-key-alpha'/g;
	$text =~ s/(FOREIGN DATA WRAPPER smartlead)(;)/$1 OPTIONS (base_url '$url', rate_limit 'none')$2/g;
	$text =~ s{https://hooks\.example\.com}{http://127.0.0.1:$port}g;
	return $text;
}

# A block, statement by statement, as psql does; stops at the first error.
sub run_block
{
	my ($user, $text) = @_;
	my ($out, $err) = ('', '');
	my $connection = $node->connstr('crm') . ($user eq 'superuser' ? '' : " user=$user");
	my $ok = IPC::Run::run([ 'psql', '-X', '-q', '-A', '-t', '-v', 'ON_ERROR_STOP=1', '-d', $connection ],
		'<', \with_our_values($text), '>', \$out, '2>', \$err);
	return $ok && $err !~ /WARNING|ERROR/ ? '' : $err || 'psql failed';
}

# A server without anything of ours, as PostgreSQL comes.
sub new_server
{
	my ($name) = @_;
	$port = free_port();
	sandbox_post('/_sandbox/reset');
	$node = PostgreSQL::Test::Cluster->new($name);
	$node->init;
	$node->append_conf('postgresql.conf', "smartlead.port = $port\nmax_worker_processes = 16");
	$node->start;
	$node->safe_psql('postgres', 'CREATE DATABASE crm');
	return;
}

sub follow
{
	my ($file, %option) = @_;
	my $n = 0;
	for my $block (blocks_of($file))
	{
		my ($who, $text) = @$block;
		$n++;
		if ($who eq 'postgresql.conf')
		{
			$node->append_conf('postgresql.conf', with_our_values($text));
			$node->restart;
			next;
		}
		is(run_block($who, $text), '', "$option{id}: $file, block $n, as $who") or return 0;
	}
	ok($n > 0, "$option{id}: $file has blocks to follow");
	return 1;
}

sub emit
{
	my ($event, $lead, %more) = @_;
	return sandbox_post('/_sandbox/emit', { event => $event, campaign_id => $campaign, lead_id => $lead, %more });
}

sub status_of
{
	return sandbox_get("/_sandbox/state/leads/$campaign/$_[0]")->{status};
}

# The path of a document, and then a reply: it is in the role's table, and what the trigger enqueued is done.
sub path_works
{
	my ($file) = @_;
	follow($file, id => 'D3') or return 0;
	receiver_listens($port) or return 0;
	emit('EMAIL_REPLY', $bjorn);
	ok(wait_until(sub { $node->safe_psql('crm', q{SELECT count(*) FROM crm.tasks WHERE who = 'bjorn@tand.example' AND what = 'Yes'}) eq '1' }, 'the row'),
		"D3: $file: the trigger has acted on a webhook")
	  or diag $node->safe_psql('crm', 'SELECT error FROM smartlead_failed_events');
	ok(wait_until(sub { status_of($bjorn) eq 'PAUSED' }, 'the pause'), "D3: $file: what it enqueued is done at Smartlead")
	  or diag $node->safe_psql('crm', 'SELECT * FROM smartlead_queue');
	is($node->safe_psql('crm', q{SELECT count(*) || ' ' || string_agg(DISTINCT run_as::text, ' ') FROM smartlead_queue}), '1 app', "D3: $file: as the ordinary role");
	is($node->safe_psql('crm', q{SELECT rolsuper FROM pg_roles WHERE rolname = 'app'}), 'f', "D3: $file: which is no superuser");
	return 1;
}

sub is_eventually
{
	my ($query, $expected, $name) = @_;
	return ok(wait_until(sub { $node->safe_psql('crm', $query) eq $expected }, $name), $name)
	  || diag $node->safe_psql('crm', $query);
}

# What the recipes have made, and what it does.
sub recipes_work
{
	follow('docs/recipes.md', id => 'D4') or return;
	cmp_ok($node->safe_psql('crm', 'SELECT count(*) FROM crm.leads'), '>', 10000, 'D4: all leads are copied');
	ok(wait_until(sub { status_of($chi) eq 'PAUSED' }, 'the pause'), 'D4: who becomes a customer is paused');
	is($node->safe_psql('crm', q{SELECT string_agg(kind || ' ' || who, ',') FROM crm.history}), 'EMAIL_REPLY bjorn@tand.example', 'D4: events are read on');
	is($node->safe_psql('crm', 'SELECT id = (SELECT max(id) FROM smartlead_events) FROM crm.read_to'), 't', 'D4: as far as they go');
	$node->safe_psql('crm', "SET ROLE app; SELECT smartlead_update_lead_category($campaign, $dora, 6)");
	is_eventually(q{SELECT args::text || ' ' || state FROM smartlead_queue WHERE action = 'resume_lead'},
		qq({"lead_id": $dora, "delay_days": 7, "campaign_id": $campaign} done), 'D4: who is absent is resumed');
	is($node->safe_psql('crm', 'SELECT count(*) = count(DISTINCT campaign_id) FROM smartlead_webhooks WHERE ended_at IS NULL'), 't', 'D4: no campaign has two webhooks');
	is($node->safe_psql('crm', q{SELECT string_agg(state, ',') FROM smartlead_queue WHERE state <> 'done'}), '', 'D4: no job has failed');
	return;
}

sub all_is_removed
{
	cmp_ok(scalar @{ sandbox_get('/_sandbox/state/webhooks') }, '>', 0, 'Smartlead has webhooks');
	follow('docs/operations.md', id => 'D4') or return;
	is(scalar @{ sandbox_get('/_sandbox/state/webhooks') }, 0, 'D4: none is left at Smartlead');
	is($node->safe_psql('crm', q{SELECT count(*) FROM pg_roles WHERE rolname LIKE 'smartlead%'}), 0, 'D4: no role is left');
	is($node->safe_psql('crm', q{SELECT (SELECT count(*) FROM pg_foreign_server) || ' ' || to_regclass('crm.tasks') || ' ' || to_regclass('smartlead_events')}), '0 crm.tasks smartlead_events', 'D4: and what is the application\'s own is there');
	return;
}

for my $file ('README.md', 'docs/events.md')
{
	(my $name = $file) =~ s/\W/_/g;
	new_server($name);
	if (path_works($file) && $file eq 'README.md')
	{
		recipes_work();
		follow('docs/queue.md', id => 'D4');
		follow('docs/troubleshooting.md', id => 'D4');
		all_is_removed();
	}
	$node->stop;
}

done_testing();
