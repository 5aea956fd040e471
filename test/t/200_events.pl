# Webhooks become events: columns from every documented shape, each event once, and what is refused.
use strict;
use warnings;

use Digest::SHA qw(hmac_sha256_hex);
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use SmartleadTest;
use WebhookTest;

my ($node, $port) = webhook_node('events');
my $url = webhook_url($node);
my $base = "http://127.0.0.1:$port";
like($url, qr{^\Q$base\E/smartlead/[A-Za-z0-9_-]{43}$}, 'a URL with a token');

sub last_event
{
	my ($columns) = @_;
	return $node->safe_psql('postgres',
		"SELECT $columns FROM smartlead_events ORDER BY id DESC LIMIT 1");
}

my %sent = (
	event_type => 'EMAIL_SENT', webhook_id => 111, webhook_name => 'crm', secret_key => '5f0c',
	stats_id => '7b27', sl_email_lead_id => '3499513771', sl_email_lead_map_id => 2433664091,
	campaign_id => 549768, campaign_name => 'Spring dentists', campaign_status => 'ACTIVE',
	client_id => undef, sequence_number => 1, from_email => 'sam@send.example',
	to_email => 'ada@clinic.example', to_name => 'Ada Okoro', subject => 'Hello',
	message_id => '<sw-7b27@send.example>', time_sent => '2026-03-03T09:27:27.234+00:00',
	event_timestamp => '2026-03-03T09:27:27.234+00:00',
	metadata => { webhook_created_at => '2026-02-26T10:19:49.535Z' });

# One event of each kind
is(send_event($url, \%sent), 200, 'sent');
is( last_event(q{concat_ws('|', event_type, kind, connection, campaign_id, campaign_name, lead_id, lead_map_id, lead_email, lead_name, from_email, sequence_number, subject, message_id, stats_id, event_at AT TIME ZONE 'UTC')}),
	'EMAIL_SENT|EMAIL_SENT|hooks|549768|Spring dentists|3499513771|2433664091|ada@clinic.example|Ada Okoro|sam@send.example|1|Hello|<sw-7b27@send.example>|7b27|2026-03-03 09:27:27.234',
	'columns of an e-mail that was sent');
is( $node->safe_psql('postgres', q{SELECT payload = '} . JSON::PP->new->encode(\%sent) . q{'::jsonb - 'secret_key' FROM smartlead_events}),
	't', 'the whole payload but for its secret');

my %open = (%sent, event_type => 'EMAIL_OPEN', event_timestamp => '2026-03-03T10:00:00Z');
is(send_event($url, \%open), 200, 'opened');
is(send_event($url, { %open, event_timestamp => '2026-03-03T10:00:05Z' }), 200, 'opened again');
my %click = (%sent, event_type => 'EMAIL_LINK_CLICK', event_timestamp => '2026-03-03T10:01:00Z',
	link_clicked => ['https://a.example']);
is(send_event($url, \%click), 200, 'clicked');
is(last_event('link'), 'https://a.example', 'the link of a click');
is(send_event($url, { %click, link_clicked => ['https://b.example'] }), 200, 'another link');
my %reply = (%sent, event_type => 'EMAIL_REPLY', event_timestamp => '2026-03-03T11:00:00+00:00',
	to_email => 'sam@send.example', sl_lead_email => 'ada@clinic.example', message_id => '<r@mail.example>',
	reply_category => 1,
	reply_message => { message_id => '<r@mail.example>', text => 'Yes', html => '<div>Yes</div>' },
	leadCorrespondence => { targetLeadEmail => 'ada@clinic.example', replyReceivedFrom => 'bo@clinic.example' });
is(send_event($url, \%reply), 200, 'replied');
is(last_event(q{concat_ws('|', lead_email, message_id, reply_text, category_id)}),
	'ada@clinic.example|<r@mail.example>|Yes|1', 'the lead of a reply is not who it was sent to');
delete $reply{sl_lead_email};
is(send_event($url, { %reply, event_timestamp => '2026-03-03T11:00:01Z' }), 200, 'replied, no sl_lead_email');
is(last_event('lead_email'), 'ada@clinic.example', 'the lead is the target of the correspondence');
is( send_event($url, { event_type => 'LEAD_UNSUBSCRIBED', lead_email => 'ada@clinic.example',
		lead_name => 'Ada', campaign_id => 549768, event_timestamp => '2026-03-03T12:00:00Z' }),
	200, 'unsubscribed');
is( send_event($url, { event_type => 'LEAD_CATEGORY_UPDATED', lead_id => 3499513771,
		lead_email => 'ada@clinic.example', campaign_id => 549768, category => 'Old', current_sequence => 2,
		lead_category => { old_id => undef, new_id => 1, new_name => 'Interested' },
		event_timestamp => '2026-03-03T11:02:00.000Z' }),
	200, 'category');
is(last_event(q{concat_ws('|', lead_id, category, category_id, sequence_number)}),
	'3499513771|Interested|1|2', 'the new category');
is( send_event($url, { %sent, event_type => 'EMAIL_BOUNCE', event_timestamp => undef,
		bounce_message => { message_id => '<b@mail.example>', time => '2026-03-04T00:00:00Z' } }),
	200, 'bounced');
is(last_event(q{concat_ws('|', message_id, event_at AT TIME ZONE 'UTC')}),
	'<b@mail.example>|2026-03-04 00:00:00', q{a bounce's own message and time});

# Other spellings and envelopes
is( send_event($url, { event => 'EMAIL_REPLIED', timestamp => '2026-03-05T00:00:00Z', campaign_id => 1,
		lead_id => 2, sequence_number => 1, lead => { email => 'x@y.example', first_name => 'X' },
		reply => { subject => 'Re', body => 'No', message_id => '<n@y>' } }),
	200, 'nested envelope');
is(last_event(q{concat_ws('|', event_type, kind, lead_id, lead_email, subject, reply_text, message_id)}),
	'EMAIL_REPLIED|EMAIL_REPLY|2|x@y.example|Re|No|<n@y>', 'its columns');
is( send_event($url, { id => 'evt_1', type => 'email.account.disconnected',
		created_at => '2026-03-05T01:00:00Z', data => {}, meta => { attempt => 1 } }),
	200, 'typed envelope');
is(last_event(q{concat_ws('|', event_type, kind)}),
	'email.account.disconnected|EMAIL_ACCOUNT_DISCONNECTED', 'its type');
is(send_event($url, { body => { %open, event_timestamp => '2026-03-06T00:00:00Z' } }), 200, 'wrapped');
is(last_event('kind'), 'EMAIL_OPEN', 'unwrapped');
is( send_event($url, [ { %open, event_timestamp => '2026-03-07T00:00:00Z' },
			{ %open, event_timestamp => '2026-03-07T00:00:01Z' } ], { 'X-Request-Id' => 'two' }),
	200, 'an array');
is( $node->safe_psql('postgres', q{SELECT string_agg(request_id, ' ' ORDER BY id) FROM smartlead_events WHERE request_id LIKE 'two%'}),
	'two two#1', 'two events of one request');
is(send_event($url, { event_type => 'NEVER_HEARD_OF', x => 1 }), 200, 'an unknown type');
is(send_body($url, '"just a string"'), 200, 'JSON that is no event');
is(last_event('event_type IS NULL'), 't', 'is stored without a type');
is(send_body($url, qq({"event_type":"EMAIL_REPLY","reply_body":"half \\ud83d and \\u0000","event_timestamp":"2026-03-08T00:00:00Z"})),
	200, 'what jsonb cannot hold');
is(last_event('reply_text'), "half \x{ef}\x{bf}\x{bd} and \x{ef}\x{bf}\x{bd}", 'is replaced');
is(send_event($url, { %sent, event_timestamp => 1772530047234, stats_id => 'ms' }), 200, 'a time as a number');
is(last_event(q{event_at AT TIME ZONE 'UTC'}), '2026-03-03 09:27:27.234', 'in milliseconds');
is(send_event($url, { %sent, event_timestamp => 'yesterday', time_sent => undef, stats_id => 'bad' }), 200, 'a bad time');
is(last_event('event_at = received_at'), 't', 'counts as none');
is(send_body($url, '{"event_type":"X","n":1' . ('0' x 140000) . '}'), 200, 'a number beyond numeric');
is( $node->safe_psql('postgres', q{SELECT sqlstate || ' ' || octet_length(body) FROM smartlead_failed_events}),
	'22003 140024', 'is among the failed ones, as it came');

# Each event once
my $before = event_counts($node);
is(send_event($url, \%sent), 200, 'the same again');
is(send_event($url, \%sent, { 'X-Request-Id' => 'other' }), 200, 'the same with another id');
is(send_event($url, { %sent, webhook_id => 5, webhook_url => 'https://else', secret_key => 'x',
		campaign_status => 'PAUSED', description => 'y' }), 200, 'the same from another level');
is(event_counts($node), $before, 'adds nothing');
is(send_event($url, { %open, event_timestamp => '2026-03-09T00:00:00Z' }, { 'X-Request-Id' => 'two' }),
	200, 'a known request id');
(my $one_more = $before) =~ s{^(\d+)}{$1 + 1}e;
is(event_counts($node), $one_more, 'R6: does not make another event the same');

# Changes of state without a time
sub status
{
	my ($from, $to, $headers) = @_;
	return send_event($url, { event_type => 'CAMPAIGN_STATUS_CHANGED', campaign_id => 77,
			previous_status => $from, current_status => $to }, $headers);
}
sub statuses
{
	return $node->safe_psql('postgres', q{SELECT string_agg(payload->>'current_status', ' ' ORDER BY id) FROM smartlead_events WHERE campaign_id = 77});
}
status('A', 'P');
status('A', 'P');
status('P', 'A');
status('P', 'A', { 'X-Request-Id' => 'again' });
status('A', 'P');
is(statuses(), 'P A P', 'the same change twice in a row is one, later it is another');
my %category = (event_type => 'LEAD_CATEGORY_UPDATED', lead_email => 'c@d.example', campaign_id => 78);
send_event($url, { %category, lead_category => { new_id => $_ } }) for 1, 1, 2, 1;
is( $node->safe_psql('postgres', 'SELECT count(*) FROM smartlead_events WHERE campaign_id = 78'),
	3, 'likewise for categories');

# Two webhooks of one connection, and two connections
my $second = webhook_url($node);
$before = event_counts($node);
is(send_event($second, \%sent), 200, 'by another webhook of the connection');
is(event_counts($node), $before, 'the same event is the same event');

# Refusals
is(send_event("$base/smartlead/" . ('x' x 43), \%sent), 404, 'unknown token');
is(HTTP::Tiny->new->get("$base/smartlead/nothing")->{status}, 404, 'GET without a token');
is(HTTP::Tiny->new->get($url)->{status}, 405, 'GET with one');
is(HTTP::Tiny->new->get($url)->{headers}{allow}, 'POST', 'tells what is allowed');
is(send_body($url, '{}', { 'Content-Type' => 'text/plain' }), 415, 'not application/json');
is(send_body($url, '{}', { 'Content-Encoding' => 'gzip' }), 415, 'compressed');
is(send_body($url, '{}', { 'Content-Type' => 'application/json; charset=utf-8' }), 200, 'with a charset');
is(send_body($url, $_), 400, 'not JSON: ' . substr $_, 0, 20)
  for '', '{', '{"a":}', '{"a":01}', "{'a':1}", '[1,]', '{"a":1} x', 'nul', "\"\xff\"", "\"\xc0\x80\"",
  "\"\xed\xa0\x80\"", "\"a\tb\"", '"\\x"', '[' x 1000 . ']' x 1000, '{"a":' x 1000 . '1' . '}' x 1000;
is(send_body($url, '[' x 200 . ']' x 200), 200, 'nested, but not too deep');
is(send_body($url, ' ' x (9 * 1024 * 1024)), 413, 'too long');
is(send_body("$base/smartlead/" . ('x' x 43), ' ' x (9 * 1024 * 1024)), 404, 'too long without a token');
is(HTTP::Tiny->new->get("$base/healthz")->{status}, 200, 'healthy');
is(send_event("$base/a/proxy/leads/here/" . ($url =~ m{([^/]+)$})[0], \%sent), 200, 'any path before the token');
cmp_ok(stat_of($node, 'refused_json'), '>=', 15, 'refusals are counted');

# A large event
is(send_event($url, { %sent, event_type => 'LEAD_CATEGORY_UPDATED', history => ['x' x 1_000_000],
		lead_email => 'big@d.example' }), 200, 'a megabyte');
is($node->safe_psql('postgres', q{SELECT octet_length(payload->'history'->>0) FROM smartlead_events WHERE lead_email = 'big@d.example'}),
	1_000_000, 'is there');

# Secrets
my $id = $node->safe_psql('postgres', 'SELECT max(id) FROM smartlead_webhooks');
sub secure
{
	my ($arguments) = @_;
	return $node->safe_psql('postgres', "SET ROLE app; SELECT smartlead_secure_webhook($id, $arguments)");
}
secure(q{secret_key => '5f0c'});
is(send_event($second, { %open, stats_id => 'k1' }), 200, 'the right secret_key');
is(send_event($second, { %open, stats_id => 'k2', secret_key => 'wrong' }), 401, 'a wrong one');
is(send_event($second, { %open, stats_id => 'k3', secret_key => undef }), 401, 'none');
secure(q{signing_secret => 'shh'});
my $body = JSON::PP->new->canonical->encode({ %open, stats_id => 's1' });
my $mac = hmac_sha256_hex($body, 'shh');
is(send_body($second, $body), 401, 'not signed');
is(send_body($second, $body, { 'X-Smartlead-Signature' => "sha256=$mac" }), 200, 'signed');
is(send_body($second, $body, { 'X-Smartlead-Signature' => uc $mac }), 200, 'signed, other form');
is(send_body("$second", "$body ", { 'X-Smartlead-Signature' => $mac }), 401, 'signed for another body');
secure(q{signing_secret => 'shh', signature_required => false});
is(send_body($second, $body), 200, 'unsigned where that is allowed');
is(send_body($second, $body, { 'X-Smartlead-Signature' => 'x' }), 401, 'but never signed wrongly');
secure('NULL');

# Rotation and revocation
my $rotated = $node->safe_psql('postgres', "SET ROLE app; SELECT smartlead_rotate_webhook($id, '3 s')");
is(send_event($second, \%sent), 200, 'the old URL works');
is(send_event($rotated, \%sent), 200, 'the new one too');
ok(wait_until(sub { send_event($second, \%sent) == 404 }, 'end of the overlap'), 'the old one ends');
is(send_event($rotated, \%sent), 200, 'the new one goes on');
is($node->safe_psql('postgres', "SET ROLE app; SELECT smartlead_revoke_webhook($id)"), 't', 'revoked');
is(send_event($rotated, \%sent), 404, 'at once');
is($node->safe_psql('postgres', 'SELECT count(*) FROM smartlead_webhook_tokens WHERE position(decode(\'' . unpack('H*', ($url =~ m{([^/]+)$})[0]) . '\', \'hex\') IN token_hash) > 0'),
	0, 'no token is stored as it is');

# Notifications
my ($in, $out, $timer) = ('', '', IPC::Run::timer(60));
my $handle = IPC::Run::start(
	[ 'psql', '-XAtq', '-d', $node->connstr('postgres') ], '<', \$in, '>', \$out, $timer);
$in .= "LISTEN smartlead_events;\nSELECT 'ready';\n";
$handle->pump until $out =~ /ready/;
is(send_event($url, { %sent, stats_id => 'notify' }), 200, 'an event');
my $last = last_event('id');
$in .= "SELECT 'done';\n\\q\n";
$handle->finish;
like($out, qr/"smartlead_events" with payload "\{"id":$last,"type":"EMAIL_SENT"\}"/,
	'is announced');

# Counters
cmp_ok(stat_of($node, 'stored'), '>', 0, 'what was stored is counted');
$node->safe_psql('postgres', 'SET ROLE app; SELECT smartlead_stat_receiver_reset()');
is($node->safe_psql('postgres', 'SELECT sum(requests + received + stored + duplicates + refused_token + batches) FROM smartlead_stat_receiver'),
	0, 'until the counters are set to zero');
is($node->safe_psql('postgres', 'SELECT sum(connections) >= 0 AND bool_and(max_ms IS NULL OR max_ms = 0) FROM smartlead_stat_receiver'), 't',
	'with nothing left of the time before');
is(send_event($url, { %sent, stats_id => 'counted' }), 200, 'another event');
is(stat_of($node, 'stored'), 1, 'is the first one again');

$node->stop;
done_testing();
