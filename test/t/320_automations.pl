# Automations end to end: Smartlead's event over HTTP, the queue, the action back at Smartlead.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SmartleadTest;
use Test::More;

my $port = free_port();
my $node = smartlead_node('main',
	conf => "max_worker_processes = 16\nsmartlead.databases = 'postgres'\nsmartlead.port = $port\nsmartlead.connection = sandbox");
my ($ada, $bjorn, $chi, $dora, $emil) = map { 3499513770 + $_ } 1 .. 5;

$node->safe_psql('postgres', q{
	CREATE ROLE app LOGIN; GRANT smartlead_admin TO app;
	GRANT USAGE ON FOREIGN SERVER sandbox TO app;
	CREATE USER MAPPING FOR app SERVER sandbox OPTIONS (api_key 'sandbox-key-alpha');});

sub as_app
{
	return $node->safe_psql('postgres', "SET ROLE app; $_[0]");
}

sub error_of
{
	my ($code, $out, $err) = $node->psql('postgres', "SET ROLE app; $_[0]");
	return $err =~ /ERROR:\s+(.*)/ ? $1 : '';
}

sub emit
{
	my ($event, $lead, %more) = @_;
	return sandbox_post('/_sandbox/emit', { event => $event, campaign_id => 549768, lead_id => $lead, %more });
}

sub state_of
{
	return sandbox_get("/_sandbox/state/leads/549768/$_[0]");
}

# The queue has so many jobs, and none that is not done with.
sub jobs_end
{
	my ($count) = @_;
	return wait_until(
		sub { $node->safe_psql('postgres', q{SELECT count(*) || ' ' || count(*) FILTER (WHERE finished_at IS NOT NULL) FROM smartlead_queue}) eq "$count $count" },
		"$count jobs");
}

sandbox_post('/_sandbox/reset');
ok(wait_until(sub { (http_request('GET', "http://127.0.0.1:$port/healthz")->{status} // 0) == 200 }, 'the receiver'), 'the receiver listens');
like(as_app('SELECT smartlead_subscribe(549768)'), qr/^\d+$/, 'subscribed');

# What can't work is refused at once.
like(error_of(q{SELECT smartlead_automate('EMAIL_REPLY', 'explode', '{}')}), qr/explode/, 'no such action');
like(error_of(q{SELECT smartlead_automate('EMAIL_REPLY', 'pause_lead', '{"campaign_id": "$campaign_id"}')}), qr/can't be called with these arguments/, 'an argument is missing');
like(error_of(q{SELECT smartlead_automate('EMAIL_REPLY', 'pause_lead', '{"campaign_id": "$campaign_id", "lead_id": "$lead_id"}', connection => 'nosuch')}), qr/nosuch/, 'no such connection');

# The four that are asked for first, in spellings that people use.
as_app(q{SELECT smartlead_automate('EMAIL_REPLIED', 'update_lead_category', '{"campaign_id": "$campaign_id", "lead_id": "$lead_id", "category": "Meeting Request"}')});
as_app(q{SELECT smartlead_automate('LEAD_UNSUBSCRIBED', 'unsubscribe_lead', '{"email": "$lead_email"}')});
as_app(q{SELECT smartlead_automate('Email Link Click', 'pause_lead', '{"campaign_id": "$campaign_id", "lead_id": "$lead_id"}')});
as_app(q{SELECT smartlead_automate('EMAIL_SENT', 'get_campaign', '{"campaign_id": "$campaign_id"}')});
is(as_app('SELECT count(*) FROM smartlead_list_automations()'), 4, 'four automations');
emit('EMAIL_REPLY', $bjorn);
emit('LEAD_UNSUBSCRIBED', $dora);
emit('EMAIL_LINK_CLICK', $chi);
emit('EMAIL_SENT', $chi);
ok(wait_until(sub { state_of($dora)->{lead}{is_unsubscribed} && state_of($chi)->{status} eq 'PAUSED' && (state_of($bjorn)->{lead_category_id} // 0) == 2 }, 'the effects'),
	'reply, unsubscribe and click have their effects at Smartlead');
ok(wait_until(sub { as_app(q{SELECT response->>'name' FROM smartlead_queue WHERE action = 'get_campaign'}) eq 'Spring dentists' }, 'the look-up'),
	'and what was found of the campaign is recorded');
is(as_app(q{SELECT string_agg(DISTINCT run_as::text, ',') FROM smartlead_queue}), 'app', 'all as the role that made the automations');

# Unsubscribing everywhere causes events of its own: it ends.
ok(wait_until(sub { as_app(q{SELECT count(*) FILTER (WHERE finished_at IS NULL) FROM smartlead_queue}) == 0 }, 'quiet'), 'what an action causes ends');

# Conditions, paths into the payload, and the end of an automation.
as_app('SELECT smartlead_drop_automation(id) FROM smartlead_list_automations()');
is(as_app('SELECT count(*) FROM smartlead_list_automations()'), 0, 'all are dropped');
$node->safe_psql('postgres', 'DELETE FROM smartlead_queue');
as_app(q{SELECT smartlead_automate('EMAIL_LINK_CLICK', 'block_domain', '{"domain": "$.domain"}', '$ ? (@.link_clicked[*] like_regex "pricing")')});
emit('EMAIL_LINK_CLICK', $ada, overrides => { domain => 'one.example', link_clicked => ['https://x.example/other'] });
emit('EMAIL_LINK_CLICK', $ada, overrides => { domain => 'two.example', link_clicked => ['https://x.example/pricing'] });
ok(jobs_end(1), 'the condition lets one of two pass');
is($node->safe_psql('postgres', q{SELECT args->>'domain' || ' ' || state FROM smartlead_queue}), 'two.example done', 'with a value of the payload');

# D8: the example of the documents, as it stands there, leaves out what no person has answered.
as_app('SELECT smartlead_drop_automation(id) FROM smartlead_list_automations()');
$node->safe_psql('postgres', 'DELETE FROM smartlead_queue');
my ($example) = slurp_file('docs/queue.md') =~ /^(SELECT smartlead_automate\('EMAIL_REPLY',.*?\);)$/ms;
my $url = as_app("SELECT smartlead_webhook_url('sandbox')");
like(as_app($example), qr/^\d+$/, 'D8: the example of queue.md');
my $replies = 0;

# How many jobs a reply of a lead of its own leads to.
sub jobs_of_reply
{
	my (%more) = @_;
	my $lead = 5000 + ++$replies;
	my %reply = (event_type => 'EMAIL_REPLY', campaign_id => 549768, sl_email_lead_id => "$lead", sl_lead_email => "lead$lead\@clinic.example",
		subject => 'Re: Hello', stats_id => "reply-$lead", event_timestamp => '2026-05-04T10:00:00Z', reply_message => { message_id => "<r$lead\@x>", text => 'Hello' },
		leadCorrespondence => { targetLeadEmail => "lead$lead\@clinic.example", replyReceivedFrom => "lead$lead\@clinic.example" });
	my $status = http_request('POST', $url, { %reply, %more })->{status};
	return "status $status" if $status != 200;
	return $node->safe_psql('postgres', "SELECT count(*) FROM smartlead_queue WHERE args->>'lead_id' = '$lead'");
}

is(jobs_of_reply(%{ $_->[1] }), 1, "D8: $_->[0] counts")
  for [ 'a reply without a category', {} ], [ 'one whose category is null', { reply_category => undef } ], [ 'an interested one', { reply_category => 1 } ],
	[ 'one without subject and correspondence', { subject => undef, leadCorrespondence => undef } ], [ 'one whose sender is null', { leadCorrespondence => { replyReceivedFrom => undef } } ],
	[ 'one that speaks of an office', { subject => 'Re: your office' } ];
is(jobs_of_reply(%{ $_->[1] }), 0, "D8: $_->[0] does not")
  for [ 'out of office', { reply_category => 6 } ], [ 'a report of non-delivery', { reply_category => 9 } ], [ 'what could not be judged', { reply_category => 8 } ],
	[ 'somebody who is not interested', { reply_category => 3 } ], [ 'a category of the workspace', { reply_category => 91034 } ],
	[ 'a report without a category', { leadCorrespondence => { replyReceivedFrom => 'mailer-daemon@googlemail.example' } } ],
	[ 'one in another spelling', { leadCorrespondence => undef, lead_correspondence => { replyReceivedFrom => 'Mail System <MAILER-DAEMON@mx.example>' } } ],
	[ 'an automatic reply without a category', { subject => 'Automatic reply: Hello' } ], [ 'an absence', { subject => 'Out of office' } ];
as_app('SELECT smartlead_drop_automation(id) FROM smartlead_list_automations()');
ok(wait_until(sub { as_app(q{SELECT count(*) FILTER (WHERE finished_at IS NULL) FROM smartlead_queue}) == 0 }, 'quiet'), 'these jobs end');

# One whose arguments come to nothing loses no event.
as_app('SELECT smartlead_drop_automation(id) FROM smartlead_list_automations()');
my $events = $node->safe_psql('postgres', 'SELECT count(*) FROM smartlead_events');
as_app(q{SELECT smartlead_automate('EMAIL_OPEN', 'block_domain', '{"domain": "$.nothing.like.it"}')});
emit('EMAIL_OPEN', $ada);
ok(wait_until(sub { $node->safe_psql('postgres', 'SELECT count(*) FROM smartlead_events') == $events + 1 }, 'the event'), 'the event is stored all the same');

# A loop: the automation's action causes the event that it reacts to.
as_app('SELECT smartlead_drop_automation(id) FROM smartlead_list_automations()');
$node->safe_psql('postgres', 'DELETE FROM smartlead_queue');
as_app(q{SELECT smartlead_automate('LEAD_CATEGORY_UPDATED', 'update_lead_category', '{"campaign_id": "$campaign_id", "lead_id": "$lead_id", "category": "Interested"}', max_per_hour => 3)});
as_app("SELECT smartlead_update_lead_category(549768, $ada, 2)");
ok(wait_until(sub { (state_of($ada)->{lead_category_id} // 0) == 1 }, 'the action'), 'the automation acts');
ok(wait_until(sub { sandbox_get('/_sandbox/pending')->{pending} == 0 && as_app(q{SELECT count(*) FILTER (WHERE finished_at IS NULL) FROM smartlead_queue}) == 0 }, 'quiet'), 'and comes to rest');
cmp_ok($node->safe_psql('postgres', 'SELECT count(*) FROM smartlead_queue'), '<=', 3, 'after no more than it is allowed');

# A session that keeps in memory which kinds of events have automations learns of a new one, even when
# the snapshot of its transaction is older than the automation; and forgets one that was rolled back.
as_app('SELECT smartlead_drop_automation(id) FROM smartlead_list_automations()');
$node->safe_psql('postgres', 'DELETE FROM smartlead_queue');
my $insert = q{INSERT INTO smartlead_failed_events (received_at, connection, webhook, sqlstate, error, payload)
	SELECT now(), 'sandbox', max(id), 'XX000', 'made up', jsonb_build_object('event_type', 'EMAIL_BOUNCE', 'stats_id', gen_random_uuid(),
		'campaign_id', 549768, 'sl_email_lead_id', 3499513772, 'event_timestamp', clock_timestamp()) FROM smartlead_webhooks;
	SELECT count(smartlead_retry_event(id)) FROM smartlead_failed_events;};
my $automate = q{SELECT smartlead_automate('EMAIL_BOUNCE', 'pause_lead', '{"campaign_id": "$campaign_id", "lead_id": "$lead_id"}');};
$node->safe_psql('postgres', q{CREATE TABLE counted (step text, jobs bigint)});
my $count = sub { "INSERT INTO counted SELECT '$_[0]', count(*) FROM smartlead_queue;" };
append_to_file($node->basedir . '/automate.sql', "SET ROLE app; $automate");
$node->safe_psql('postgres', join("\n", $insert, $count->('none'),
	'BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1;',
	"\\! psql -X -q -o /dev/null -d \"" . $node->connstr('postgres') . "\" -f " . $node->basedir . '/automate.sql',
	$insert, 'COMMIT;', $count->('an older snapshot'),
	$insert, $count->('the next transaction'),
	'DELETE FROM smartlead_automations;', $insert, $count->('without it'),
	'BEGIN;', $automate, $insert, 'ROLLBACK;', $insert, $count->('rolled back')));
is($node->safe_psql('postgres', q{SELECT string_agg(step || ': ' || jobs, ', ') FROM counted}),
	'none: 0, an older snapshot: 0, the next transaction: 1, without it: 1, rolled back: 1',
	'an automation counts from the transaction on that can see it');

done_testing();
