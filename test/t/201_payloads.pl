# What a payload becomes: nothing of what its sender keeps secret, and the right columns from every place and
# spelling that Smartlead or the tools in between are known to use.
use strict;
use warnings;

use JSON::PP;
use MIME::Base64;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use SmartleadTest;
use WebhookTest;

my ($node, $port) = webhook_node('payloads');
my $url = webhook_url($node);
my ($token) = $url =~ m{([^/]+)$};
my $secret = 'b7e1-the-secret';
my $json = JSON::PP->new->utf8->canonical;

sub sql
{
	return $node->safe_psql('postgres', $_[0]);
}

# All that both tables hold, as text.
sub everything
{
	return sql(q{SELECT coalesce(string_agg(e::text, chr(10)), '') FROM smartlead_events e}) . "\n"
	  . sql(q{SELECT coalesce(string_agg(f::text || coalesce(convert_from(f.body, 'UTF8'), ''), chr(10)), '') FROM smartlead_failed_events f});
}

sub forget
{
	sql('DELETE FROM smartlead_failed_events; DELETE FROM smartlead_events; DELETE FROM smartlead_event_keys');
	return;
}

# ---- S10: secrets ----

my $n = 0;
sub secretive
{
	my (%more) = @_;
	return { event_type => 'EMAIL_OPEN', stats_id => 'secret ' . ++$n, campaign_id => 8, lead_email => 'kim@lab.example',
		event_timestamp => '2026-03-03T09:00:00Z', webhook_id => 4, webhook_url => $url, secret_key => $secret, %more };
}

sub is_discreet
{
	my ($what, $body, $counts) = @_;
	$body = $json->encode($body) if ref $body;
	is(send_body($url, $body), 200, "S10: $what is taken");
	is(event_counts($node), $counts // '1/0', "S10: $what is stored");
	my $all = everything();
	unlike($all, qr/\Q$token\E/, "S10: $what leaves no token");
	unlike($all, qr/\Q$secret\E/, "S10: $what leaves no secret_key");
	is(sql(q{SELECT count(*) FROM smartlead_events WHERE payload::text LIKE '%stats_id": "secret%'}), 1, "S10: $what keeps the rest")
	  unless $counts;
	forget();
	return;
}

is_discreet('a classic event', secretive());
is_discreet('an event in a body', { headers => { host => 'x' }, body => secretive() });
is_discreet('an event in data', { type => 'EMAIL_OPEN', created_at => '2026-03-03T09:00:00Z', secret_key => $secret, data => secretive() });
is_discreet('an event in base64', { isBase64Encoded => JSON::PP::true, body => encode_base64($json->encode(secretive()), '') });
is_discreet('a nested copy', secretive(meta => [ { webhook => { webhook_url => "$url?x=1", secret_key => $secret } } ]));
is_discreet('JSON within a text', secretive(raw => $json->encode(secretive())));
is_discreet('JSON within JSON within a text', secretive(raw => $json->encode({ inner => $json->encode(secretive()), deep => [1] })));
is_discreet('another spelling', secretive(webhookUrl => $url, secretKey => $secret, Webhook_URL => $url));
is_discreet('the URL under another name',
	secretive(rawPath => "/smartlead/$token", link => "https://proxy.example/x?to=http%3A%2F%2Fh.example%2Fsmartlead%2F$token&y", text => "see <a href='$url'>it</a>"));
is_discreet('a number for a secret', '{"event_type":"X","raw":"{\"secret_key\": 5, \"webhook_url\":\"' . $url . '\"}","stats_id":"secret"}');
is_discreet('an array', [ secretive(), secretive(secret_key => [$secret]) ], '2/0');
is_discreet('an array in JSON within a text', secretive(raw => $json->encode({ a => 1, secret_key => [ $secret, { x => "]$secret" } ], z => { webhook_url => { b => $url } } })));

# What no jsonb can hold is kept as it came, but for that.
my $too_large = ',"n":1' . '0' x 140000;
(my $body = $json->encode(secretive(raw => $json->encode(secretive())))) =~ s/\}$/$too_large}/;
is(send_body($url, $body), 200, 'S10: what jsonb cannot hold');
is(sql('SELECT octet_length(body) FROM smartlead_failed_events'), length $body, 'S10: is kept as it came');
unlike(everything(), qr/\Q$token\E|\Q$secret\E/, 'S10: but for the secrets');
$json->decode(sql(q{SELECT convert_from(body, 'UTF8') FROM smartlead_failed_events}));
pass('S10: and is JSON still');
forget();
is(send_event($url, { isBase64Encoded => JSON::PP::true, body => encode_base64($body, '') }), 200, 'S10: the same in base64');
unlike(everything() . join('', map { decode_base64($_) } everything() =~ /([\w+\/]{40,}={0,2})/g), qr/\Q$token\E|\Q$secret\E/, 'S10: does not tell the secrets either');
forget();

# A trigger that fails.
sql(q{CREATE SCHEMA work; GRANT ALL ON SCHEMA work TO app; SET ROLE app;
	CREATE FUNCTION work.fail() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'no: %', NEW; END$$;
	CREATE TRIGGER fail BEFORE INSERT ON smartlead_events FOR EACH ROW EXECUTE FUNCTION work.fail();});
is_discreet('a failing event', secretive(), '0/1');
sql('DROP TRIGGER fail ON smartlead_events');

# The check of the secret needs it all the same.
my $id = sql('SELECT max(id) FROM smartlead_webhooks');
sql("SET ROLE app; SELECT smartlead_secure_webhook($id, secret_key => '$secret')");
is(send_event($url, secretive()), 200, 'S10: the right secret_key is known');
is(send_event($url, secretive(secret_key => 'wrong')), 401, 'S10: a wrong one too');
is(send_event($url, { body => secretive() }), 200, 'S10: in an envelope');
is(send_event($url, { body => secretive(secret_key => 'wrong') }), 401, 'S10: a wrong one there');
sql("SET ROLE app; SELECT smartlead_secure_webhook($id)");
forget();

# ---- W1 to W4, W6, W7: columns ----

# A payload, and the columns that it must give: those named here; none of the others is looked at.
my %sent = (event_type => 'EMAIL_SENT', stats_id => 'st-1', sl_email_lead_id => '77001', sl_email_lead_map_id => 88002,
	campaign_id => 4400, campaign_name => 'Autumn', client_id => undef, sequence_number => 2, from_email => 'rep@out.example',
	to_email => 'kim@lab.example', to_name => 'Kim Lee', subject => 'Hi', message_id => '<out-1@out.example>',
	sent_message => { message_id => '<out-1@out.example>', html => '<p>Hi</p>', text => 'Hi', time => '2026-03-03T09:00:00.000Z' },
	time_sent => '2026-03-03T09:00:00.000Z', event_timestamp => '2026-03-03T09:00:00.000Z');
my $step = 100;
sub but { my ($type, %more) = @_; return { %sent, event_type => $type, sequence_number => $step++, %more } }

my @payloads = (
	[ 'W1: a live bounce', but('EMAIL_BOUNCE', sl_email_lead_map_id => undef, is_bounced => JSON::PP::true,
			app_url => 'https://app.smartlead.example/app/master-inbox?action=x&leadMap=88003#top',
			bounce_reply_message_id => '<ndr-1@lab.example>',
			bounce_message => { message_id => '<ndr-1@lab.example>', text => '550', time => '2026-03-03T12:30:05.5Z' }),
		{ event_at => '2026-03-03 12:30:05.5+00', lead_map_id => 88003, lead_id => 77001, message_id => '<ndr-1@lab.example>' } ],
	[ 'W1: a bounce without its own time', but('EMAIL_BOUNCE', bounce_message => { message_id => '<ndr-2@lab.example>' }),
		{ event_at => '2026-03-03 09:00:00+00' } ],
	[ 'W1: a reply with the time of sending', but('EMAIL_REPLY', time_replied => '2026-03-04T10:00:00.1+00:00',
			reply_message => { message_id => '<re-1@lab.example>', text => 'Yes', time => '2026-03-04T10:00:00.1+00:00' }),
		{ event_at => '2026-03-04 10:00:00.1+00', message_id => '<re-1@lab.example>', reply_text => 'Yes' } ],
	[ 'W1: an open', but('EMAIL_OPEN', time_opened => '2026-03-05T08:00:00Z'), { event_at => '2026-03-05 08:00:00+00' } ],
	[ 'W1: a click', but('EMAIL_LINK_CLICK', time_clicked => '2026-03-05T08:00:01Z', link_clicked => ['https://out.example/a', 'https://out.example/b']),
		{ event_at => '2026-03-05 08:00:01+00', link => 'https://out.example/a' } ],
	[ 'W1: an id from the twin of app_url alone', but('EMAIL_OPEN', sl_email_lead_map_id => undef, ui_master_inbox_link => 'https://app.smartlead.example/?leadMap=88004'),
		{ lead_map_id => 88004 } ],
	[ 'W1: an empty one', but('EMAIL_OPEN', sl_email_lead_map_id => undef, app_url => 'https://app.smartlead.example/?leadMap='), { lead_map_id => '' } ],
	[ 'W2: an untracked reply', { event_type => 'UNTRACKED_REPLIES', sender_detail => '"Moss, Ivy" <ivy.moss@new.example> ', visible_text => 'Hello?',
			reply_message => { text => 'Hello?', html => '<p>Hello?</p>', time => '2026-06-02T09:11:00.000Z' }, event_timestamp => '2026-06-02T09:11:05.000Z' },
		{ from_email => 'ivy.moss@new.example', reply_text => 'Hello?', lead_email => '', event_at => '2026-06-02 09:11:05+00' } ],
	[ 'W2: names before addresses', but('EMAIL_OPEN', from_email => 'Rep <rep@out.example>', to_email => ' Kim Lee <kim@lab.example>', to_name => undef),
		{ from_email => 'rep@out.example', to_email => 'kim@lab.example', lead_email => 'kim@lab.example', lead_name => 'Kim Lee' } ],
	(map { [ "W2: the address in $_->[0]", { event_type => 'EMAIL_OPEN', stats_id => "address $_->[0]", to_email => $_->[0] },
				{ to_email => $_->[1], lead_email => $_->[1], lead_name => $_->[2] } ] }
		[ 'Lee, Kim <kim@lab.example>, Bo <bo@lab.example>', 'kim@lab.example', 'Lee, Kim' ], [ 'kim@lab.example; bo@lab.example', 'kim@lab.example', '' ],
		[ '"K, \"L\"" <kim@lab.example>, "B <b>" <bo@lab.example>', 'kim@lab.example', 'K, "L"' ], [ 'kim@lab.example (Kim Lee)', 'kim@lab.example', '' ],
		[ '--', '', '' ], [ 'nobody', '', '' ]),
	[ 'W2: two hyphens for a missing address and name', { event_type => 'EMAIL_OPEN', stats_id => 'hyphens', lead_email => '--', lead_name => '--', to_email => 'kim@lab.example', subject => '---' },
		{ lead_email => 'kim@lab.example', lead_name => '', subject => '---' } ],
	[ 'W2: blanks around addresses', but('EMAIL_REPLY', sl_lead_email => "\t Kim\@Lab.example\n", from_email => ' rep@out.example '),
		{ lead_email => 'Kim@Lab.example', from_email => 'rep@out.example' } ],
	(map { [ "W3: the type $_->[0]", but($_->[0], stats_id => "type $_->[0]"), { event_type => $_->[0], kind => $_->[1] } ] }
		[ 'email_replied', 'EMAIL_REPLY' ], [ 'Email Replied', 'EMAIL_REPLY' ], [ 'email-replied', 'EMAIL_REPLY' ], [ 'emailReplied', 'EMAIL_REPLY' ],
		[ 'lead_replied', 'EMAIL_REPLY' ], [ 'Email Link Clicked', 'EMAIL_LINK_CLICK' ], [ 'email.opened', 'EMAIL_OPEN' ], [ 'Lead Unsubscribed', 'LEAD_UNSUBSCRIBED' ],
		[ 'bounced', 'EMAIL_BOUNCE' ], [ 'campaign_status_change', 'CAMPAIGN_STATUS_CHANGED' ], [ 'linkedin-disconnected', 'LINKEDIN_DISCONNECTED' ],
		[ 'Something new', 'SOMETHING_NEW' ]),
	[ 'W4: incoming_message', { event_type => 'EMAIL_REPLY', to_email => 'kim@lab.example', campaign_id => 1, stats_id => 'in',
			incoming_message => { message_id => '<in@lab.example>', text => 'a word' } },
		{ reply_text => 'a word', message_id => '<in@lab.example>', lead_email => 'kim@lab.example' } ],
	[ 'W4: nested lead and reply', { event => 'EMAIL_REPLIED', campaign_id => 5, lead_id => '9', lead => { email => 'kim@lab.example', first_name => 'Kim', last_name => 'Lee' },
			reply => { text => 'Why not', subject => 'Re: Hi', received_at => '2026-05-26T12:00:00Z' }, message_id => 'plain-id', timestamp => '2026-05-26T12:00:09Z' },
		{ kind => 'EMAIL_REPLY', reply_text => 'Why not', lead_name => 'Kim Lee', message_id => 'plain-id', subject => 'Re: Hi', lead_id => 9,
			event_at => '2026-05-26 12:00:00+00' } ],
	[ 'W4: nested lead and email', { event => 'EMAIL_SENT', timestamp => '2026-01-15T10:30:00Z', campaign_id => 5, lead => { id => 12, email => 'kim@lab.example', first_name => 'Kim', last_name => undef },
			email => { subject => 'Short', message_id => 'e1@out.example' }, sequence_number => '3' },
		{ subject => 'Short', message_id => 'e1@out.example', lead_name => 'Kim', lead_id => 12, sequence_number => 3 } ],
	[ 'W4: nested link', { event => 'EMAIL_CLICKED', timestamp => '2026-01-15T10:30:00Z', lead => { email => 'kim@lab.example' }, link => { url => 'https://out.example/n', clicked_at => '2026-01-15T10:29:58Z' } },
		{ kind => 'EMAIL_LINK_CLICK', link => 'https://out.example/n', event_at => '2026-01-15 10:29:58+00' } ],
	[ 'W4: clicked_url and email_account', { event_type => 'LINK_CLICKED', lead_email => 'kim@lab.example', email_account => 'rep@out.example', timestamp => '2026-01-15T10:30:00Z', clicked_url => 'https://out.example/c' },
		{ link => 'https://out.example/c', from_email => 'rep@out.example' } ],
	[ 'W4: a short reply', { event_type => 'REPLIED', lead_email => 'kim@lab.example', lead_first_name => 'Kim', email_account => 'rep@out.example', message => 'No thanks', timestamp => '2026-01-15T10:31:00Z', category_id => 3 },
		{ reply_text => 'No thanks', lead_name => 'Kim', category_id => 3 } ],
	[ 'W4: null before another name', { event_type => 'EMAIL_REPLY', to_email => undef, lead_email => 'kim@lab.example', stats_id => undef, email_stats_id => 'old-stats', reply_text => 'hey', event_timestamp => '2026-05-20T03:32:08.000Z' },
		{ lead_email => 'kim@lab.example', stats_id => 'old-stats', reply_text => 'hey', to_email => '' } ],
	[ 'W4: lead_correspondence', { event_type => 'EMAIL_REPLY', stats_id => 'lc', from_email => 'rep@out.example', to_email => 'rep@out.example', event_timestamp => 1770000100,
			lead_correspondence => { targetLeadEmail => 'kim@lab.example', replyReceivedFrom => 'boss@lab.example' } },
		{ lead_email => 'kim@lab.example', event_at => '2026-02-02 02:41:40+00' } ],
	[ 'W4: a reply that names only our own mailbox', { event_type => 'EMAIL_REPLY', stats_id => 'om', from_email => 'Rep@out.example', to_email => 'rep@out.example', event_timestamp => 1770000100.5 },
		{ lead_email => '', event_at => '2026-02-02 02:41:40.5+00' } ],
	[ 'W4: a category as text', { event_type => 'LEAD_CATEGORY_UPDATED', lead_id => 5, to_email => 'kim@lab.example', lead_category => 'Do Not Contact', event_timestamp => '2026-02-02T10:00:00Z' },
		{ category => 'Do Not Contact', lead_email => 'kim@lab.example', category_id => '' } ],
	[ 'W4: last_reply alone', { event_type => 'LEAD_CATEGORY_UPDATED', lead_email => 'kim@lab.example', lead_category => { new_id => 1, new_name => 'Interested' },
			last_reply => { stats_id => 'lr', type => 'REPLY', message_id => '<lr@lab.example>', time => '2026-02-02T09:00:00Z', email_body => 'Call me' }, event_timestamp => '2026-02-02T10:00:01Z' },
		{ reply_text => 'Call me', stats_id => 'lr', message_id => '<lr@lab.example>', category => 'Interested', event_at => '2026-02-02 10:00:01+00' } ],
	[ 'W4: opened, without a type', { from_email => 'rep@out.example', to_email => 'kim@lab.example', time_opened => '2023-09-25T17:29:11.618881+00:00', campaign_id => 7 },
		{ kind => 'EMAIL_OPEN', event_type => '', event_at => '2023-09-25 17:29:11.618881+00' } ],
	[ 'W4: clicked, without a type', { to_email => 'kim@lab.example', time_clicked => '2023-09-25T17:29:12+00:00', link_clicked => 'https://out.example/x', campaign_id => 7 },
		{ kind => 'EMAIL_LINK_CLICK', link => 'https://out.example/x', event_at => '2023-09-25 17:29:12+00' } ],
	[ 'W4: replied, without a type', { to_email => 'kim@lab.example', time_sent => '2023-09-25T10:00:00Z', time_replied => '2023-09-25T17:29:13Z', reply_body => '<p>ok</p>' },
		{ kind => 'EMAIL_REPLY', reply_text => '<p>ok</p>', event_at => '2023-09-25 17:29:13+00' } ],
	[ 'W4: everything inside data', { event => 'smartlead.webhook', data => but('EMAIL_REPLY', stats_id => 'in data', reply_message => { text => 'Fine', message_id => '<d@lab.example>' }) },
		{ kind => 'EMAIL_REPLY', reply_text => 'Fine', stats_id => 'in data' } ],
	[ 'W4: a typed envelope with data', { id => 'evt_9', type => 'email.account.disconnected', created_at => '2026-04-01T08:00:00Z', data => { email => 'rep@out.example', campaign_id => 6 }, meta => { attempt => 1 } },
		{ kind => 'EMAIL_ACCOUNT_DISCONNECTED', from_email => 'rep@out.example', campaign_id => 6, lead_email => '', event_at => '2026-04-01 08:00:00+00' } ],
	[ 'W4: JSON text inside body', { version => '2.0', isBase64Encoded => JSON::PP::false, body => $json->encode(but('EMAIL_REPLY', stats_id => 'in text', preview_text => "two\nlines")) },
		{ kind => 'EMAIL_REPLY', stats_id => 'in text', reply_text => "two\nlines" } ],
	[ 'W4: JSON text inside body inside body', { body => { body => $json->encode(but('EMAIL_OPEN', stats_id => 'deep')) } }, { kind => 'EMAIL_OPEN', stats_id => 'deep' } ],
	[ 'W4: base64 inside body', { version => '2.0', isBase64Encoded => JSON::PP::true, body => encode_base64($json->encode(but('EMAIL_REPLY', stats_id => 'in base64', preview_text => "gr\x{fc}n")), '') },
		{ kind => 'EMAIL_REPLY', stats_id => 'in base64', reply_text => "gr\x{fc}n" } ],
	[ 'W4: base64 that is none', { type => 'x', isBase64Encoded => JSON::PP::true, body => 'n?ne' }, { kind => 'X' } ],
	[ 'W4: inside payload', { type => 'hook', payload => but('EMAIL_OPEN', stats_id => 'in payload') }, { kind => 'EMAIL_OPEN', stats_id => 'in payload' } ],
	[ 'W4: inside body, with the type repeated outside', { event_type => 'EMAIL_OPENED', body => but('EMAIL_OPEN', stats_id => 'in typed body') }, { kind => 'EMAIL_OPEN', stats_id => 'in typed body', lead_id => 77001 } ],
	[ 'W4: bounced, without a type', { to_email => 'kim@lab.example', time_sent => '2023-09-25T10:00:00Z', bounce_reply_message_id => '<old@lab.example>', bounce_message => { time => '2023-09-25T10:00:07Z' } },
		{ kind => 'EMAIL_BOUNCE', message_id => '<old@lab.example>', event_at => '2023-09-25 10:00:07+00' } ],
	[ 'W4: a reply message that is a text', { event_type => 'EMAIL_REPLY', lead_email => 'kim@lab.example', event_timestamp => '2026-05-26T12:01:00Z', reply_message => 'Fine' }, { reply_text => 'Fine' } ],
	[ 'W4: a clicked link as an object', { event_type => 'EMAIL_CLICK', lead_email => 'kim@lab.example', event_timestamp => '2026-05-26T12:02:00Z', link_details => [ { url => 'https://out.example/o' } ] },
		{ kind => 'EMAIL_LINK_CLICK', link => 'https://out.example/o' } ],
	[ 'W4: all of it a JSON text', $json->allow_nonref->encode($json->encode(but('EMAIL_OPEN', stats_id => 'a text'))), { kind => 'EMAIL_OPEN', stats_id => 'a text' } ],
	[ 'W4: a list inside body', { headers => {}, body => [ but('EMAIL_OPEN', stats_id => 'list') ] }, { kind => 'EMAIL_OPEN', stats_id => 'list' } ],
	[ 'W4: a body that is only text', but('EMAIL_REPLY', stats_id => 'text body', body => '{not json', reply_body => 'x'), { kind => 'EMAIL_REPLY', stats_id => 'text body' } ],
	[ 'W4: a bounce that names nobody', but('EMAIL_BOUNCE', to_email => undef, description => 'Email 2 sent to kim.lee@lab.example got bounced for campaign - Autumn'),
		{ lead_email => 'kim.lee@lab.example' } ],
	[ 'W4: a lost mailbox', { eventType => 'EMAIL_ACCOUNT_DISCONNECTED', accountId => 1, email => 'rep@out.example', error => '535', message => 'Lost', title => 'Lost' },
		{ kind => 'EMAIL_ACCOUNT_DISCONNECTED', from_email => 'rep@out.example', lead_email => '', reply_text => '' } ],
	[ 'W4: a manual step', { event_type => 'MANUAL_STEP_REACHED', lead_id => '77001', lead_email => 'kim@lab.example', lead_name => 'Kim', current_sequence_number => 4, campaign_id => 6 },
		{ lead_id => 77001, sequence_number => 4, lead_name => 'Kim' } ],
	[ 'W6: a cleared category', { event_type => 'LEAD_CATEGORY_UPDATED', lead_email => 'kim@lab.example', category => undef, lead_category_id => undef,
			lead_category => { old_id => 1, old_name => 'Interested', new_id => undef, new_name => undef }, lead_data => { email => 'kim@lab.example', category => { name => 'Interested' } }, event_timestamp => '2026-02-02T11:00:00Z' },
		{ category => '', category_id => '' } ],
	[ 'W6: cleared, without lead_category', { event_type => 'LEAD_CATEGORY_UPDATED', lead_email => 'kim@lab.example', category => undef, lead_data => { category => { name => 'Interested' } }, event_timestamp => '2026-02-02T11:00:01Z' },
		{ category => '' } ],
	(map { [ 'W6: cleared by ' . $json->encode($_), { event_type => 'LEAD_CATEGORY_UPDATED', lead_email => 'kim@lab.example', lead_data => { category => { name => 'Interested' } },
				event_timestamp => '2026-02-02T12:00:' . $step++ % 60 . 'Z', %$_ }, { category => '', category_id => '' } ] }
		{ lead_category => undef }, { lead_category => { old_id => 1, new_id => undef } }, { lead_category_id => undef }, { category => { name => undef } }),
	[ 'W6: only lead_data tells the category', { event_type => 'LEAD_CATEGORY_UPDATED', lead_data => { email => 'kim@lab.example', first_name => 'Kim', category => { name => 'Interested' } }, event_timestamp => '2026-02-02T11:00:02Z' },
		{ category => 'Interested', lead_email => 'kim@lab.example', lead_name => 'Kim' } ],
	(map { [ "W7: the time $_->[0]", but('EMAIL_OPEN', event_timestamp => $_->[0], stats_id => "time $_->[0]"), { event_at => $_->[1] } ] }
		[ '2026-07-01T10:00:00', '2026-07-01 10:00:00+00' ], [ '2026-07-01 10:00:00.25', '2026-07-01 10:00:00.25+00' ], [ '2026-07-01', '2026-07-01 00:00:00+00' ],
		[ '2026-07-01T10:00:00+02:00', '2026-07-01 08:00:00+00' ], [ '2026-07-01T10:00:00.5Z', '2026-07-01 10:00:00.5+00' ], [ ' 1782900000000 ', '2026-07-01 10:00:00+00' ], [ 1782900000250000, '2026-07-01 10:00:00.25+00' ]));

$node->safe_psql('postgres', q{ALTER DATABASE postgres SET timezone = 'Asia/Kolkata'});
$node->restart;
receiver_listens($port) or BAIL_OUT('the receiver does not listen');

# All at once, in their order; then their rows. Sequence numbers make each an event of its own.
is(send_body($url, ref $_->[1] ? $json->encode($_->[1]) : $_->[1]), 200, "$_->[0] is taken") for @payloads;
my $rows = $json->decode(sql(q{SET timezone = 'UTC'; SELECT json_agg(e ORDER BY id) FROM (SELECT *, event_at::text AS at FROM smartlead_events) e}));
is(scalar @$rows, scalar @payloads, 'a row for each');
for my $i (0 .. $#payloads)
{
	my ($what, undef, $right) = @{ $payloads[$i] };
	my $row = $rows->[$i];
	$row->{event_at} = $row->{at};
	is_deeply({ map { $_ => $row->{$_} // '' } keys %$right }, $right, $what);
}
is(sql(q{SELECT count(*) FROM smartlead_events WHERE payload ? 'version'}), 0, 'W4: what was wrapped around an event is gone');
forget();

# ---- W5, R6: what is one event ----

sub count_of
{
	my ($campaign) = @_;
	return sql("SELECT count(*) FROM smartlead_events WHERE campaign_id = $campaign");
}

# Sends the payload once for each request id (undef: none).
sub send_with_ids
{
	my ($payload, @ids) = @_;
	send_event($url, $payload, defined $_ ? { 'X-Request-Id' => $_ } : {}) for @ids;
	return;
}

# Makes what is stored look received longer ago.
sub age
{
	my ($campaign, $interval) = @_;
	sql("UPDATE smartlead_event_keys k SET received_at = k.received_at - '$interval'::interval
		FROM smartlead_events e WHERE e.id = k.event_id AND e.campaign_id = $campaign");
	return;
}

my $campaign = 9000;
for my $timeless (
	[ 'an unsubscription', { event_type => 'LEAD_UNSUBSCRIBED', lead_email => 'kim@lab.example', lead_name => 'Kim Lee', campaign_name => 'Autumn', unsubscribed_client_id_map => {} } ],
	[ 'a manual step', { event_type => 'MANUAL_STEP_REACHED', lead_id => '77001', lead_email => 'kim@lab.example', current_sequence_number => 3 } ],
	[ 'a change of status', { event_type => 'CAMPAIGN_STATUS_CHANGED', previous_status => 'ACTIVE', current_status => 'PAUSED' } ],
	[ 'a change of category', { event_type => 'LEAD_CATEGORY_UPDATED', lead_email => 'kim@lab.example', category => 'Interested' } ],
	[ 'an open', { event_type => 'EMAIL_OPEN', stats_id => 'no time', to_email => 'kim@lab.example' } ],
	[ 'an unknown type', { event_type => 'LEAD_SNEEZED', lead_email => 'kim@lab.example' } ])
{
	my ($what, $payload) = @$timeless;
	$payload->{campaign_id} = ++$campaign;
	send_with_ids($payload, undef, 'first', 'second', 'first');
	is(count_of($campaign), 1, "W5: $what without a time, sent four times with several request ids, is one");
	send_with_ids({ %$payload, webhook_id => 17, campaign_name => 'Other', description => 'd' }, 'third');
	is(count_of($campaign), 1, "W5: $what from another webhook too");
	age($campaign, '7 hours 50 minutes');
	send_with_ids($payload, undef, 'fourth');
	is(count_of($campaign), 1, "R6: $what within the retry window is one");
	age($campaign, '20 minutes');
	send_with_ids($payload, undef, 'fifth');
	is(count_of($campaign), 2, "R6: $what after it has happened again");
	age($campaign, '9 hours');
	send_with_ids($payload, 'sixth', undef);
	is(count_of($campaign), 3, "R6: $what a third time");
}

$campaign = 9100;
my %traced = (%sent, campaign_id => $campaign, event_timestamp => '2026-07-02T10:00:00Z', time_sent => undef, sent_message => undef);
send_with_ids({ %traced, event_type => $_ }, 'trace') for qw(EMAIL_SENT FIRST_EMAIL_SENT);
is(count_of($campaign), 2, 'R6: two kinds of event of one request id are two');
send_with_ids({ %traced, event_timestamp => "2026-07-02T10:00:0${_}Z", event_type => 'EMAIL_OPEN' }, 'trace') for 1, 2;
is(count_of($campaign), 4, 'R6: two opens of one request id are two');
send_with_ids({ %traced, event_type => $_ }, 'retraced', undef) for qw(EMAIL_SENT FIRST_EMAIL_SENT);
is(count_of($campaign), 4, 'R6: and none of them is another one for another request id');

$campaign = 9200;
my $reply = { event_type => 'EMAIL_REPLY', campaign_id => $campaign, sl_lead_email => 'kim@lab.example', reply_message => { message_id => '<only@lab.example>', text => 'a' } };
send_with_ids($reply, 'a', undef);
age($campaign, '10 days');
send_with_ids($reply, 'b');
is(count_of($campaign), 1, 'W5: a reply without a time is told by its own Message-ID');
send_with_ids({ %$reply, reply_message => { message_id => '<next@lab.example>', text => 'a' } }, 'a');
is(count_of($campaign), 2, 'R6: another reply by another one');

# At the same time
$campaign = 9250;
for my $type ('EMAIL_REPLY', 'LEAD_SNEEZED')
{
	my %at_once = (event_type => $type, campaign_id => ++$campaign, lead_email => 'kim@lab.example', event_timestamp => '2026-07-02T10:00:00Z');
	send_with_ids({ %at_once, reply_body => $_ }, 'one', 'two', undef) for 'first', 'second';
	is(count_of($campaign), 2, "R6: two of $type at the same time that say something else are two");
	send_with_ids({ %at_once, reply_body => 'first', webhook_id => 17, campaign_name => 'Other' }, 'three');
	is(count_of($campaign), 2, "W5: and from another webhook none of $type is another one");
}

# Back and forth
$campaign = 9300;
my %change = (event_type => 'CAMPAIGN_STATUS_CHANGED', campaign_id => $campaign);
send_with_ids({ %change, current_status => $_->[0] }, $_->[1]) for [ 'PAUSED', 'p1' ], [ 'ACTIVE', 'p2' ], [ 'PAUSED', 'p3' ], [ 'PAUSED', undef ], [ 'ACTIVE', undef ], [ 'PAUSED', 'p1' ];
is(sql("SELECT string_agg(payload->>'current_status', ' ' ORDER BY id) FROM smartlead_events WHERE campaign_id = $campaign"),
	'PAUSED ACTIVE PAUSED ACTIVE', 'R6: a status goes back and forth; a late repetition of the first change by its request is none');
is(send_event($url, [ map { { %change, campaign_id => 9301, current_status => $_ } } qw(PAUSED ACTIVE PAUSED) ]), 200, 'R6: back and forth in one request');
is(count_of(9301), 3, 'R6: is three changes');

# Where a webhook was made for some categories, the step between isn't told.
sql(qq{INSERT INTO smartlead_webhooks (subscriber, connection, level, campaign_id, categories, filtered) VALUES ('app', 'hooks', 'campaign', 9400, '{Interested}', true)});
my $filtered_id = sql('SELECT max(id) FROM smartlead_webhooks');
my $filtered_url = sql("SET ROLE app; SELECT smartlead_rotate_webhook($filtered_id)");
my $interested = { event_type => 'LEAD_CATEGORY_UPDATED', campaign_id => 9400, lead_email => 'kim@lab.example', lead_category => { old_id => 2, new_id => 1, new_name => 'Interested' } };
send_event($filtered_url, $interested, $_ ? { 'X-Request-Id' => $_ } : {}) for 'one', 'one', undef, 'two', 'two', 'one';
is(count_of(9400), 2, 'R6: with a filter, a change of category is another one by another request, and the same by the same');

# Two receivers at once: every event once.
$node->append_conf('postgresql.conf', 'smartlead.receivers = 2');
$node->restart;
receiver_listens($port) or BAIL_OUT('the receivers do not listen');
for my $round (1 .. 3)
{
	my @events = map { { event_type => 'LEAD_UNSUBSCRIBED', campaign_id => 9500, lead_email => "at-once-$round-$_\@lab.example" }, { %change, campaign_id => 9501, current_status => "S$round" } } 1 .. 3;
	unlike(send_at_once($url, @events, @events, @events), qr/[^20 ]/, "W5: the same events to two receivers at once, round $round");
	age(9500, '9 hours');
}
is(count_of(9500), 9, 'W5: are stored once');
is(count_of(9501), 3, 'W5: changes of state too');
send_at_once($url, map { { event_type => 'LEAD_UNSUBSCRIBED', campaign_id => 9500, lead_email => 'at-once-1-1@lab.example' } } 1 .. 8);
is(count_of(9500), 10, 'R6: what happens again, eight times at once, is one more');
is(sql('SELECT count(*) FROM smartlead_failed_events'), 0, 'W5: none failed');

# What it was made of
is(sql(q{SELECT count(*) FROM smartlead_events e, smartlead_event_key(e.payload, e.connection) k
	WHERE e.campaign_id IN (9100, 9200) AND e.fingerprint = k.fingerprint AND e.kind = k.kind}), 6, 'W5: smartlead_event_key() tells fingerprints as the receiver makes them');
is(sql(q{SET timezone = 'UTC'; SELECT told_by || ' ' || made_of::text FROM smartlead_event_key('{"body": {"event_type": "clicked", "secret_key": "s", "lead_email": "K <k@l.example>", "link": "https://x", "timestamp": "2026-07-02"}}', 'hooks')}),
	'time {"kind": "EMAIL_LINK_CLICK", "link": "https://x", "event_at": "2026-07-02 00:00:00+00", "connection": "hooks", "lead_email": "k@l.example"}', 'W5: and what they are made of');
is(sql(q{SELECT string_agg(told_by || ' ' || (made_of ? 'payload'), ',') FROM smartlead_event_key('[{"event_type": "LEAD_UNSUBSCRIBED", "lead_email": "k@l.example"}, {"event": "REPLIED", "message_id": "<m>"}, 7]')}),
	'content true,message false,content true', 'W5: of each event in a body');
is(sql('SELECT count(*) FROM smartlead_event_key(NULL)'), 0, 'W5: of none in none');

# The usual form of a time is read by a parser of ours, which must say what the server's says.
my $times = q{
	SELECT format('%s-%s-%s%s%s:%s:%s%s%s', lpad(y::text, 4, '0'), lpad((1 + i % 12)::text, 2, '0'), lpad((1 + i % 28)::text, 2, '0'),
		CASE i % 5 WHEN 0 THEN ' ' ELSE 'T' END, lpad((i % 24)::text, 2, '0'), lpad((i % 60)::text, 2, '0'), lpad((i * 7 % 60)::text, 2, '0'),
		CASE WHEN i % 8 > 0 THEN '.' || left('98765432', i % 8) ELSE '' END, (ARRAY['Z', '', '+00:00', '+05:30', '-15:59', '-00:30', '+0530', '+05', 'z'])[1 + i % 9])
		FROM unnest(ARRAY[1, 4, 99, 1600, 1899, 1900, 1970, 1999, 2000, 2026, 2038, 2100, 9999]) y, generate_series(1, 90) i
	UNION ALL VALUES ('2024-02-29T23:59:59.999999Z'), ('2000-02-29T00:00:00Z'), ('2026-12-31T24:00:00Z'), ('2026-06-30T23:59:60Z'), ('2026-03-03 09:27'), ('2026-03-03'),
		('2026-03-03T09:27:27.1234567Z')};
is(sql("SET timezone = 'UTC'; SELECT count(*), string_agg(t, ', ') FILTER (WHERE event_at IS DISTINCT FROM t::timestamptz)
	FROM ($times) s(t), smartlead_event_key(jsonb_build_object('event_type', 'X', 'timestamp', t))"), '1177|', 'W4: times are what the server takes them for');
my $none = q{VALUES ('2026-02-29T00:00:00Z'), ('1900-02-29T00:00:00Z'), ('2026-04-31T00:00:00Z'), ('2026-00-10T00:00:00Z'), ('2026-13-10T00:00:00Z'), ('2026-01-00T00:00:00Z'),
	('0000-01-01T00:00:00Z'), ('2026-03-03T25:00:00Z'), ('2026-03-03T09:60:00Z'), ('2026-03-03T09:00:61Z'), ('2026-03-03T09:00:00+16:00'), ('2026-03-03T09:00:00+05:60'),
	('2026-03-03T09:00:00Zx'), ('2026-03-03T'), ('2026-03-0')};
is(sql("SELECT string_agg(t, ', ') FROM ($none) s(t), smartlead_event_key(jsonb_build_object('event_type', 'X', 'timestamp', t)) WHERE event_at IS NOT NULL"),
	'', 'W4: and what the server refuses is none');
forget();

# ---- W3, W8: automations ----

sub automate
{
	my ($code, $out, $err) = $node->psql('postgres', "SET ROLE app; SELECT smartlead_automate($_[0])");
	return $code == 0 ? ($err || $out) : $err;
}

sub jobs
{
	return sql(q{SELECT coalesce(string_agg(args->>'email', ' ' ORDER BY id), '') FROM smartlead_queue});
}

like(automate(qq{'$_', 'unsubscribe_lead', '{"email": "\$lead_email"}'}), qr/^\d+$/, "W8: $_ is a known type")
  for qw(EMAIL_SENT FIRST_EMAIL_SENT EMAIL_OPEN EMAIL_LINK_CLICK EMAIL_REPLY LEAD_UNSUBSCRIBED LEAD_CATEGORY_UPDATED EMAIL_BOUNCE CAMPAIGN_STATUS_CHANGED
  UNTRACKED_REPLIES MANUAL_STEP_REACHED EMAIL_ACCOUNT_DISCONNECTED LINKEDIN_DISCONNECTED CAMPAIGN_BOUNCE_THRESHOLD_BREACHED email.account.disconnected), 'Email Link Clicked';
like(automate(q{'LEAD_SNEEZED', 'unsubscribe_lead', '{"email": "$lead_email"}'}), qr/WARNING.*"LEAD_SNEEZED"/, 'W8: an unknown one is told');
sql('DELETE FROM smartlead_automations');

like(automate("'EMAIL_REPLY', 'unsubscribe_lead', $_->[0]"), $_->[1], "W8: $_->[2]") for
	[ q('{"email": "$lead_emial"}'), qr/"\$lead_emial" is no column of smartlead_events/, 'an unknown column is refused' ],
	[ q('{"email": {"path": "$lead_emial"}}'), qr/"\$lead_emial"/, 'written as a path too' ],
	[ q('{"email": "$payload"}'), qr/"\$payload".*HINT.*\$\.name/s, 'the payload is no variable' ],
	[ q('{"email": "$.a ? (@ == $lead_emial)"}'), qr/"\$lead_emial"/, 'within a filter' ],
	[ q('{"email": "$lead_email"}', '$ ? (@.campaign_id == $campaing_id)'), qr/"\$campaing_id"/, 'in a condition' ],
	[ q('{"email": "$lead_email"}', '$ ? (@.text like_regex "\\$x" && @."$y" == "$z" && $category_id != 9)'), qr/^\d+$/, 'what only looks like one passes' ],
	[ q('{"email": {"value": "$lead_emial"}}'), qr/^\d+$/, 'so does a text that is kept' ];
sql('DELETE FROM smartlead_automations');

# Replies in any spelling, but no reports of non-delivery.
like(automate(q{'email_replied', 'unsubscribe_lead', '{"email": "$lead_email"}', '$ ? (!($category_id == 8 || $category_id == 9))'}), qr/^\d+$/, 'W3: an automation for email_replied');
send_event($url, { event_type => $_, lead_email => "$_\@lab.example", event_timestamp => '2026-07-03T10:00:00Z' }) for qw(email_replied EMAIL_REPLY Replied);
send_event($url, { event_type => 'EMAIL_REPLY', sl_lead_email => 'ndr@lab.example', event_timestamp => '2026-07-03T10:00:01Z', reply_category => 9,
	reply_message => { message_id => '<ndr@lab.example>', text => 'Delivery failed' }, leadCorrespondence => { replyReceivedFrom => 'mailer-daemon@lab.example' } });
is(jobs(), 'email_replied@lab.example EMAIL_REPLY@lab.example Replied@lab.example', 'W3: fires for every spelling, and its condition leaves out what is no reply');
like(automate(q{'LEAD_UNSUBSCRIBED', 'unsubscribe_lead', '{"email": "$lead_email"}'}), qr/^\d+$/, 'W3: an automation by address');
send_event($url, { event_type => 'LEAD_UNSUBSCRIBED', event_timestamp => '2026-07-03T11:00:00.9Z', lead_email => 'gone@lab.example', to_email => 'gone@lab.example', from_email => '', sent_message => { message_id => undef, text => '' } });
like(jobs(), qr/gone\@lab\.example$/, 'W3: acts on an event without a lead id');
sql('DELETE FROM smartlead_automations; DELETE FROM smartlead_queue');

# A condition that errs
my $erring = automate(q{'EMAIL_OPEN', 'unsubscribe_lead', '{"email": "$lead_email"}', 'strict $.nothing.here'});
my $uncomparable = automate(q{'EMAIL_OPEN', 'unsubscribe_lead', '{"email": "$lead_email"}', '$.campaign_id > "7"'});
my $other = automate(q{'EMAIL_OPEN', 'unsubscribe_lead', '{"email": "$lead_email"}'});
is(sql('SELECT count(*) FROM smartlead_list_automations() WHERE condition_error IS NULL'), 3, 'W8: at first no condition has failed');
is(send_event($url, { event_type => 'EMAIL_OPEN', stats_id => "erring $_", campaign_id => 7, lead_email => "open-$_\@lab.example", event_timestamp => '2026-07-03T12:00:00Z' }), 200, 'W8: an event whose condition errs is taken') for 1 .. 3;
is(sql('SELECT count(*) FROM smartlead_events WHERE kind = \'EMAIL_OPEN\' AND stats_id LIKE \'erring%\''), 3, 'W8: and stored');
is(jobs(), 'open-1@lab.example open-2@lab.example open-3@lab.example', 'W8: the other automation acts');
is(sql('SELECT count(*) FROM smartlead_failed_events'), 0, 'W8: nothing fails');
like(sql("SELECT condition_error || ' ' || (condition_failed_at > now() - interval '1 hour') FROM smartlead_list_automations() WHERE id = $erring"), qr/nothing.* true$/, 'W8: and the error is seen');
like(sql("SELECT condition_error FROM smartlead_list_automations() WHERE id = $uncomparable"), qr/can't be compared/, 'W8: of a comparison that comes to nothing too');
is(sql("SELECT condition_error IS NULL FROM smartlead_list_automations() WHERE id = $other"), 't', 'W8: where it belongs');
sql('DELETE FROM smartlead_automations; DELETE FROM smartlead_queue');
forget();

$node->stop;
done_testing();
