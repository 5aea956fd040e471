# Subscribing at Smartlead in one call: the sandbox's own changes become events here.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use SmartleadTest;
use WebhookTest;

my ($node, $port) = webhook_node('subscribe');
start_sandbox();
my $campaign = 549768;
my $lead = 3499513771;
connect_sandbox($node, user => 'PUBLIC', options => { max_retries => 0 });
$node->safe_psql('postgres', 'GRANT USAGE ON FOREIGN SERVER sandbox TO smartlead_admin');

sub app
{
	my ($query) = @_;
	return $node->safe_psql('postgres', "SET ROLE app; SET smartlead.connection = 'sandbox'; $query");
}

sub kinds
{
	return $node->safe_psql('postgres', q{SELECT string_agg(DISTINCT kind, ' ' ORDER BY kind) FROM smartlead_events});
}

sub remote
{
	return sandbox_get('/_sandbox/state/webhooks');
}

# At a campaign
my $id = app("SELECT smartlead_subscribe($campaign)");
like($id, qr/^\d+$/, 'subscribed');
is(scalar @{ remote() }, 1, 'Smartlead has a webhook');
is(app("SELECT level || ' ' || campaign_id || ' ' || (remote_id = " . remote()->[0]{id} . ") FROM smartlead_webhooks WHERE id = $id"),
	"campaign $campaign true", 'ours is the same one');
is(app("SELECT array_length(categories, 1) = (SELECT count(*) FROM smartlead_list_lead_categories()) FROM smartlead_webhooks"),
	't', 'for all categories of the workspace');
is(app("SELECT id || ' ' || campaign_id || ' ' || jsonb_array_length(event_types) FROM smartlead_list_webhooks($campaign)"),
	remote()->[0]{id} . " $campaign 6", 'it is listed, with six events');

# What happens at Smartlead arrives here
app("SELECT smartlead_update_lead_category($campaign, $lead, 'Interested')");
app("SELECT smartlead_unsubscribe_campaign_lead($campaign, $lead)");
sandbox_post('/_sandbox/emit', { event => $_, campaign_id => $campaign, lead_id => $lead })
  for qw(EMAIL_SENT EMAIL_OPEN EMAIL_LINK_CLICK EMAIL_REPLY);
ok( $node->poll_query_until('postgres', q{SELECT count(DISTINCT kind) >= 6 FROM smartlead_events}),
	'all six events arrive')
  or diag kinds();
is(kinds(), 'EMAIL_LINK_CLICK EMAIL_OPEN EMAIL_REPLY EMAIL_SENT LEAD_CATEGORY_UPDATED LEAD_UNSUBSCRIBED', 'these six');
is($node->safe_psql('postgres', q{SELECT DISTINCT lead_email FROM smartlead_events}), 'ada@clinic.example', 'of that lead');

# A new URL
my $before = remote()->[0]{webhook_url};
my $url = app("SELECT smartlead_rotate_webhook($id, '1 hour')");
isnt($url, $before, 'a new URL');
is(remote()->[0]{webhook_url}, $url, 'Smartlead has it');
is(scalar @{ remote() }, 1, 'in the same webhook');
my $plain = { event_type => 'EMAIL_OPEN', stats_id => 'x', event_timestamp => '2026-01-01T00:00:00Z' };
is(send_event($before, $plain), 200, 'the old URL still works');
is(send_event($url, $plain), 200, 'the new one as well');

# The end of it
is(app("SELECT smartlead_unsubscribe_webhook($id)"), 't', 'unsubscribed');
is(scalar @{ remote() }, 0, 'Smartlead has no webhook');
is(send_event($url, $plain), 404, 'its URL is refused');
is(app("SELECT smartlead_unsubscribe_webhook($id)"), 'f', 'only once');

# The other form of removal
sandbox_post('/_sandbox/config', { category_webhook_delete => 'path' });
$id = app("SELECT smartlead_subscribe($campaign, '{EMAIL_REPLIED}', '{Interested}')");
is($node->safe_psql('postgres', "SELECT event_types || categories FROM smartlead_webhooks WHERE id = $id"),
	'{EMAIL_REPLY,Interested}', 'other spellings of events are understood');
is(app("SELECT smartlead_unsubscribe_webhook($id)"), 't', 'removed by the other form');
is(scalar @{ remote() }, 0, 'Smartlead has no webhook');
sandbox_post('/_sandbox/reset');

# Above campaigns
my ($code, $out, $err) = $node->psql('postgres',
	"SET ROLE app; SET smartlead.connection = 'sandbox'; SELECT smartlead_subscribe(level => 'user', events => '{EMAIL_SENT}')");
is($code, 0, 'at user level');
like($err, qr/NOTICE:.*takes its events away/, 'with a warning');
is(remote()->[0]{level}, 'user', 'Smartlead has it there');
sandbox_post('/_sandbox/emit', { event => 'EMAIL_SENT', campaign_id => $campaign, lead_id => $lead });
my $user_webhook = $node->safe_psql('postgres', 'SELECT max(id) FROM smartlead_webhooks');
ok( $node->poll_query_until('postgres', "SELECT count(*) = 1 FROM smartlead_events WHERE webhook = $user_webhook"),
	'its events arrive');
is(app("SELECT smartlead_unsubscribe_webhook($user_webhook)"), 't', 'removed');
is(scalar @{ remote() }, 0, 'Smartlead has no webhook');
my $client_webhook = app("SELECT smartlead_subscribe(client_id => 6, events => '{EMAIL_SENT}')");
is(remote()->[0]{level}, 'client', 'at client level');
is(app("SELECT smartlead_unsubscribe_webhook($client_webhook)"), 't', 'removed');

# What can't be removed
sub unsubscribe
{
	my ($webhook) = @_;
	my ($result, $rows, $said) = $node->psql('postgres', "SET ROLE app; SET smartlead.connection = 'sandbox'; SELECT smartlead_unsubscribe_webhook($webhook)");
	return "$rows $said";
}
sub no_route
{
	sandbox_post('/_sandbox/fault', { kind => 'html', status => 404, method => 'DELETE', times => 2 });
	return;
}
$id = app("SELECT smartlead_subscribe($campaign)");
no_route();
like(unsubscribe($id), qr/^t .*WARNING:.*could not be removed at Smartlead.*HINT:.*Remove it/s, 'W9: where no route removes a webhook that is listed, a warning');
is(scalar @{ remote() }, 1, 'W9: it is there');
is(unsubscribe($id), 'f ', 'W9: here it has ended');
$id = app("SELECT smartlead_subscribe($campaign)");
sandbox_post('/_sandbox/reset');
no_route();
like(unsubscribe($id), qr/^t .*NOTICE:.*had no webhook/s, 'W9: one that is not listed is gone');
$id = app("SELECT smartlead_subscribe($campaign)");
sandbox_post('/_sandbox/reset');
like(unsubscribe($id), qr/^t .*NOTICE:.*had no webhook/s, 'W9: one that Smartlead does not know too');
$id = app("SELECT smartlead_subscribe(level => 'user', events => '{EMAIL_SENT}')");
no_route();
like(unsubscribe($id), qr/^t .*WARNING:.*could not be removed/s, 'W9: above campaigns nothing lists it: a warning');
sandbox_post('/_sandbox/reset');
$id = app("SELECT smartlead_subscribe(level => 'user', events => '{EMAIL_SENT}')");
sandbox_post('/_sandbox/reset');
like(unsubscribe($id), qr/^t .*NOTICE:.*had no webhook/s, 'W9: unless Smartlead says that it does not know it');

# A workspace without categories
sandbox_post('/_sandbox/fault', { kind => 'status', status => 200, body => '[]', path => '/leads/fetch-categories', times => -1 });
sub attempt
{
	my ($call) = @_;
	my ($result, $rows, $said) = $node->psql('postgres', "SET ROLE app; SET smartlead.connection = 'sandbox'; SELECT $call");
	return $result == 0 ? $rows : $said;
}
$id = attempt("smartlead_subscribe($campaign)");
like($id, qr/^\d+$/, 'W10: no categories, no list of them');
like(attempt("smartlead_rotate_webhook($id)"), qr/^http/, 'W10: nor at a rotation');
is(unsubscribe($id), 't ', 'W10: removed');
$id = attempt(q{smartlead_subscribe(level => 'user')});
like($id, qr/^\d+$/, 'W10: nor above campaigns');
is_deeply([ map { exists $_->{category_id_map} } @{ remote() } ], [ '' ], 'W10: where they are not sent');
is(unsubscribe($id), 't ', 'W10: removed');
$id = attempt("smartlead_subscribe($campaign, categories => '{}')");
like($id, qr/^\d+$/, 'W10: nor where an empty list is given');
is(unsubscribe($id), 't ', 'W10: removed');
sandbox_post('/_sandbox/reset');

# What goes wrong leaves nothing behind
my $tokens = $node->safe_psql('postgres', 'SELECT count(*) FROM smartlead_webhook_tokens');
for my $try (
	[ 'smartlead_subscribe(1)', qr/SL404/ ],
	[ "smartlead_subscribe($campaign, '{NEVER_HEARD_OF}')", qr/SL400/ ],
	[ "smartlead_subscribe($campaign, categories => '{Nonsense}')", qr/SL400/ ],
	[ "smartlead_subscribe($campaign, '{}')", qr/22023/ ],
	[ 'smartlead_subscribe()', qr/22023/ ],
	[ q{smartlead_subscribe(level => 'galaxy')}, qr/22023/ ],
	[ 'smartlead_unsubscribe_webhook(999)', qr/P0002|02000/ ])
{
	my ($call, $state) = @$try;
	($code, $out, $err) = $node->psql('postgres',
		"\\set VERBOSITY verbose\nSET ROLE app; SET smartlead.connection = 'sandbox'; SELECT $call");
	like($err, $state, "$call fails");
}
is($node->safe_psql('postgres', 'SELECT count(*) FROM smartlead_webhook_tokens'), $tokens, 'no token is left');
is(scalar @{ remote() }, 0, 'nor a webhook');

# An answer without an id is no success
sub subscribe_fails
{
	my ($call) = @_;
	($code, $out, $err) = $node->psql('postgres',
		"\\set VERBOSITY verbose\nSET ROLE app; SET smartlead.connection = 'sandbox'; SELECT smartlead_subscribe($call)");
	return $err =~ /ERROR:  (\w{5}):/ ? $1 : "$out $err";
}
for my $body ('{"ok": true}', '{}', '', 'success', '{"ok": true, "id": null}', '{"ok": true, "id": "soon"}')
{
	my @answer = (method => 'POST', kind => 'status', status => 200, body => $body, times => 1);

	sandbox_post('/_sandbox/fault', { @answer, path => '/webhook/create' });
	is(subscribe_fails("level => 'user', events => '{EMAIL_SENT}'"), 'SL520', "C12: '$body' to a webhook above campaigns: in doubt");
	sandbox_post('/_sandbox/fault', { @answer, path => "/campaigns/$campaign/webhooks" });
	is(subscribe_fails($campaign), 'SL520', "C12: '$body' to one of a campaign, and it is not listed either: in doubt");
}
sandbox_post('/_sandbox/fault', { method => 'POST', kind => 'status', status => 200, body => '{"ok": true}', path => "/campaigns/$campaign/webhooks", times => 1 });
sandbox_post('/_sandbox/fault', { method => 'GET', kind => 'status', status => 500, path => "/campaigns/$campaign/webhooks", times => 5 });
is(subscribe_fails($campaign), 'SL520', 'C12: nor can it be listed: in doubt');
sandbox_post('/_sandbox/reset');
is($node->safe_psql('postgres', 'SELECT count(*) FROM smartlead_webhook_tokens'), $tokens, 'no token is left');

# Others' webhooks are not one's own
$id = app("SELECT smartlead_subscribe($campaign)");
$node->safe_psql('postgres', 'CREATE ROLE other; GRANT smartlead_admin TO other');
($code, $out, $err) = $node->psql('postgres', "SET ROLE other; SELECT smartlead_revoke_webhook($id)");
like($err, qr/belongs to another role/, q{nobody ends others' webhooks});
($code, $out, $err) = $node->psql('postgres', 'SET ROLE other; SELECT secret_key FROM smartlead_webhooks');
like($err, qr/permission denied/, 'nor reads their secrets');
($code, $out, $err) = $node->psql('postgres', 'SET ROLE other; SELECT * FROM smartlead_webhook_tokens');
like($err, qr/permission denied/, 'nor their tokens');
($code, $out, $err) = $node->psql('postgres', 'CREATE ROLE nobody; SET ROLE nobody; SELECT smartlead_webhook_url()');
like($err, qr/permission denied/, 'and others not at all');

# A dump carries all of it, and what is restored goes on
my $dump = PostgreSQL::Test::Utils::tempdir() . '/dump.sql';
$node->command_ok([ 'pg_dump', '-d', $node->connstr('postgres'), '-f', $dump ], 'pg_dump');
my $rows = $node->safe_psql('postgres', 'SELECT count(*) FROM smartlead_events');
my $other_port = free_port();
$node->safe_psql('postgres', "CREATE DATABASE restored TEMPLATE template0; ALTER DATABASE restored SET smartlead.port = $other_port");
$node->command_ok([ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('restored'), '-f', $dump ], 'restored');
is($node->safe_psql('restored', 'SELECT count(*) FROM smartlead_events'), $rows, 'the events are there');
is($node->safe_psql('restored', 'SELECT count(*) FROM smartlead_webhook_tokens'), $tokens + 1, 'and the tokens');
$node->safe_psql('postgres', q{ALTER SYSTEM SET smartlead.databases = 'postgres, restored'});
$node->reload;
ok(receiver_listens($other_port, 20), 'a receiver for it');
($url = remote()->[0]{webhook_url}) =~ s/:$port/:$other_port/;
is(send_event($url, { %$plain, stats_id => 'restored' }), 200, 'the same URL works there');
cmp_ok($node->safe_psql('restored', 'SELECT max(id) FROM smartlead_events'), '>', $rows, 'with a new id');

$node->stop;
done_testing();
