# What Smartlead's answers are taken for: a failure that says 200, an object in an envelope, a web page
# of whatever stands before it, an outcome that isn't known.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SmartleadSession;
use SmartleadTest;
use Test::More;

my $node = smartlead_node('main', conf => "smartlead.databases = 'postgres'\nsmartlead.port = " . free_port() . "\n");
my $session = SmartleadSession->new($node);

sub answered
{
	my ($body, $sql, %fault) = @_;
	sandbox_post('/_sandbox/reset');
	sandbox_post('/_sandbox/fault', { kind => 'status', status => 200, times => -1, body => $body, %fault });
	my ($out, $err) = $session->query($sql);
	return $err eq '' ? $out : $session->sqlstate($sql);
}

my $pause = 'SELECT smartlead_pause_lead(549768, 3499513771)';
my $get = 'SELECT id, name, status FROM smartlead_get_campaign(7)';
my $list = 'SELECT count(*) FROM smartlead_list_campaigns()';
my $create = q{SELECT id, name, status FROM smartlead_create_campaign('New')};

# ---- 200 with an error ----

foreach my $body (
	'{"error":"Something went wrong"}', '{"error":{"code":"X","message":"no"}}', '{"statusCode":400,"error":"Bad Request","message":"no"}',
	'{"errors":["no"]}', '{"message":"no","errorCode":"ACCOUNT_NOT_FOUND"}', '{"error":"no","data":null}', '{"error":true,"message":"no","data":[]}')
{
	is(answered($body, $_->[1]), 'SL409', "C15: $body is an error of $_->[0]")
	  for [ 'an action', $pause ], [ 'a lookup', $get ], [ 'a listing', $list ], [ 'a creation', $create ],
	  [ 'a request', q{SELECT smartlead_request('GET', '/campaigns/')} ];
}
like(($session->query($pause))[1], qr/Smartlead said: no/, 'C15: with what Smartlead said');
is(answered($_, $pause), 't', "C15: $_ is none")
  for '{"ok":true,"error":null}', '{"error":""}', '{"error":false}', '{"ok":true,"error":"of another"}', '{"error":null,"data":"success"}', 'success', '{}';

# ---- a lookup's object ----

my $campaign = '{"id":7,"name":"w","status":"ACTIVE"}';
is(answered($_, $get), '7|w|ACTIVE', "C15: the object is found in $_")
  for $campaign, qq({"success":true,"campaign":$campaign}), qq({"ok":true,"data":$campaign}), qq({"ok":true,"data":[$campaign]}),
  qq({"data":{"campaign":$campaign}}), qq({"result":[$campaign],"message":"found"}), qq([$campaign]), qq({"data":$campaign,"user":{"id":1}});
is(answered($_, $get), 'SL502', "C15: $_ can't be read, which is not the same as no row")
  for '{"campaign":{"name":"without an id"}}', qq({"campaign":$campaign,"other":{"id":8}}), '{"name":"w"}', '{"a":{"b":{"c":{"id":7}}}}', qq([$campaign,{"id":8}]), qq({"data":[$campaign,$campaign]}), '"campaign"', '{"ok":true,"data":"success"}', '7';
is(answered($_, $get), '', "C15: $_ is no row")
  for '{}', '', '[]', 'null', '{"data":null}', '{"ok":true,"data":[]}', '{"ok":true,"message":"no such campaign"}', '{"success":true,"campaign":null}', '{"success":true,"campaign":{}}';

# ---- refused by a web page ----

sandbox_post('/_sandbox/reset');
sandbox_post('/_sandbox/fault', { kind => 'html', status => 403, times => -1 });
my (undef, $error) = $session->query($get);
like($error, qr/refused before it came to Smartlead/, 'C15: a web page with 403 is not of Smartlead');
like($error, qr/HINT: .*tells nothing about the API key/, 'C15: and hints at no key');
is($session->sqlstate($get), 'SL403', 'C15: in its class');
sandbox_post('/_sandbox/reset');
sandbox_post('/_sandbox/fault', { kind => 'status', status => 403, body => '{"message":"Access denied"}' });
(undef, $error) = $session->query($get);
like($error, qr/HINT: .*the key may belong to a client/, 'C15: as a refusal by Smartlead does');

# ---- a campaign that was made ----

sub created
{
	my ($fault) = @_;
	sandbox_post('/_sandbox/reset');
	sandbox_post('/_sandbox/fault', { times => -1, %$fault });
	my ($out, $err) = $session->query($create);
	return $err eq '' ? $out : ($err =~ /(outcome of "create_campaign" at Smartlead is unknown)/)[0] // $err;
}

my @back = (method => 'GET', path => '/campaigns/7*');
is(created({ @back, kind => 'status', status => 200, body => $_ }), '700001|New|DRAFTED', "C12: made, and read back as $_")
  for '{"id":[1]}', '{"id":"x","name":"y"}', '{}', '', '[1]', '{"error":"no"}', '<html>', '{"id":700001,"na';
is(created({ @back, kind => $_ }), '700001|New|DRAFTED', "C12: made, and reading back meets $_")
  for qw(drop drop_mid_body bad_utf8 nul deep html redirect);
is(created({ method => 'POST', kind => 'status', status => 200, body => $_ }), 'outcome of "create_campaign" at Smartlead is unknown', "C12: the answer to the creation is '$_'")
  for '', '{}', '{"ok":true}', 'done', '{"id":null}', '{"ok":true,"id":', '[]';
is(created({ method => 'POST', kind => 'status', status => 200, body => '{"ok":true,"id":7,"name":"New","created_at":"whenever"}' }) =~ /^7\|/ ? 1 : 0, 1,
	'C12: a time that cannot be read hides no new campaign');

# The queue doubts it as well, and does not make another one.
sandbox_post('/_sandbox/reset');
sandbox_post('/_sandbox/fault', { method => 'POST', path => '/campaigns/create', kind => 'status', status => 200, body => '{"ok":true}', times => -1 });
my $job = $session->query(q{SELECT smartlead_enqueue('create_campaign', '{"name": "Queued"}')});
ok($node->poll_query_until('postgres', "SELECT finished_at IS NOT NULL FROM smartlead_queue WHERE id = $job"), 'the job ends');
is($session->query("SELECT state, sqlstate, in_doubt, attempts FROM smartlead_queue WHERE id = $job"), 'failed|SL520|t|1',
	'C12: a job whose answer holds no id is in doubt, and was done once');

# ---- a DELETE that was done before the connection broke ----

sub deleted
{
	my ($sql, @faults) = @_;
	sandbox_post('/_sandbox/reset');
	sandbox_post('/_sandbox/fault', { method => 'DELETE', %$_ }) for @faults;
	my ($out, $err) = $session->query($sql);
	return $err eq '' ? $out : $err =~ /did not find/ ? 'SL404' : $err;
}

foreach my $case ([ 'a campaign', 'smartlead_delete_campaign(552100)' ], [ 'a lead', 'smartlead_delete_lead(549768, 3499513771)' ])
{
	my ($what, $call) = @$case;
	is(deleted("SELECT $call", { kind => 'process_then_drop' }), 't', "C11: $what is deleted, though the connection broke");
	is(scalar @{ sandbox_get('/_sandbox/log') }, 2, 'C11: in a second attempt, which found nothing');
	is(deleted("SELECT $call", { kind => 'status', status => 404, body => '{"error":"not found"}' }), 'SL404', "C11: $what that was not there is an error");
	is(deleted("SELECT $call", { kind => 'status', status => 429, headers => { 'Retry-After' => '0' } }, { kind => 'status', status => 404, body => '{"error":"not found"}' }),
		'SL404', "C11: also after a refusal, which leaves no doubt");
}

done_testing();
