# What a payload becomes: nothing of what its sender keeps secret, and the right columns from every place and
# spelling that Smartlead or the tools in between are known to use.
use strict;
use warnings;

use JSON::PP;
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
	sql('DELETE FROM smartlead_failed_events; DELETE FROM smartlead_events');
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
is_discreet('a nested copy', secretive(meta => [ { webhook => { webhook_url => "$url?x=1", secret_key => $secret } } ]));
is_discreet('JSON within a text', secretive(raw => $json->encode(secretive())));
is_discreet('JSON within JSON within a text', secretive(raw => $json->encode({ inner => $json->encode(secretive()), deep => [1] })));
is_discreet('another spelling', secretive(webhookUrl => $url, secretKey => $secret, Webhook_URL => $url));
is_discreet('the URL under another name',
	secretive(rawPath => "/smartlead/$token", link => "https://proxy.example/x?to=http%3A%2F%2Fh.example%2Fsmartlead%2F$token&y", text => "see <a href='$url'>it</a>"));
is_discreet('a number for a secret', '{"event_type":"X","raw":"{\"secret_key\": 5, \"webhook_url\":\"' . $url . '\"}","stats_id":"secret"}');
is_discreet('an array', [ secretive(), secretive(secret_key => [$secret]) ], '2/0');

# What no jsonb can hold is kept as it came, but for that.
my $too_large = ',"n":1' . '0' x 140000;
(my $body = $json->encode(secretive(raw => $json->encode(secretive())))) =~ s/\}$/$too_large}/;
is(send_body($url, $body), 200, 'S10: what jsonb cannot hold');
is(sql('SELECT octet_length(body) FROM smartlead_failed_events'), length $body, 'S10: is kept as it came');
unlike(everything(), qr/\Q$token\E|\Q$secret\E/, 'S10: but for the secrets');
$json->decode(sql(q{SELECT convert_from(body, 'UTF8') FROM smartlead_failed_events}));
pass('S10: and is JSON still');
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

$node->stop;
done_testing();
