# Webhooks speak UTF-8: what becomes of them in databases that don't.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use SmartleadTest;
use WebhookTest;

my ($node, $port) = webhook_node('encodings');
my %port = (latin1 => free_port(), sql_ascii => free_port());
for my $database (sort keys %port)
{
	$node->safe_psql('postgres',
		"CREATE DATABASE $database ENCODING '$database' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0");
	$node->safe_psql('postgres', "ALTER DATABASE $database SET smartlead.port = $port{$database}");
	$node->safe_psql($database, 'CREATE EXTENSION smartlead');
	make_connection($node, $database);
}
$node->safe_psql('postgres', q{ALTER SYSTEM SET smartlead.databases = 'postgres, latin1, sql_ascii'});
$node->reload;
ok(receiver_listens($port{$_}), "a receiver of $_") for sort keys %port;

my $number = 0;

sub send_subject
{
	my ($database, $subject) = @_;
	$number++;
	return send_body(webhook_url($node, database => $database),
		qq({"event_type":"EMAIL_OPEN","stats_id":"s$number","lead_email":"ada\@clinic.example","subject":"$subject",)
		  . '"event_timestamp":"2026-03-03T09:00:00Z","n":[1,{"b":2,"a":1.50}]}');
}

# The bytes of the column and of the payload's member, in hexadecimal digits.
sub last_subject
{
	my ($database) = @_;
	return $node->safe_psql($database, q{
		SELECT encode(textsend(subject), 'hex') || ' ' || encode(textsend(payload->>'subject'), 'hex')
		FROM smartlead_events ORDER BY id DESC LIMIT 1});
}

sub counts
{
	my ($database) = @_;
	return $node->safe_psql($database,
		q{SELECT (SELECT count(*) FROM smartlead_events) || '/' || (SELECT count(*) FROM smartlead_failed_events)});
}

# textsend() converts to the client's encoding, which is the database's here.
is(send_subject('latin1', "caf\xc3\xa9"), 200, 'latin1: a letter that it has');
is(last_subject('latin1'), '636166e9 636166e9', 'is converted');
is(send_subject('latin1', 'caf\\u00e9'), 200, 'latin1: the same as an escape');
is(last_subject('latin1'), '636166e9 636166e9', 'likewise');
is($node->safe_psql('latin1', q{SELECT payload->'n' FROM smartlead_events ORDER BY id DESC LIMIT 1}), '[1, {"a": 1.50, "b": 2}]',
	'and the rest is as ever');
is(send_subject('latin1', "\xe2\x82\xac"), 200, 'latin1: a sign that it lacks');
is(send_subject('latin1', '\\ud83d\\ude00'), 200, 'latin1: an escape of one');
is(counts('latin1'), '2/2', 'these two are kept among the failed ones');
is($node->safe_psql('latin1', q{SELECT count(*) FROM smartlead_failed_events WHERE position('\xe282ac'::bytea IN body) > 0}), 1,
	'as the bytes that came');
is(send_subject('latin1', 'plain'), 200, 'latin1: the next one');
is(counts('latin1'), '3/2', 'is stored');

is(send_subject('sql_ascii', "caf\xc3\xa9"), 200, 'sql_ascii: bytes');
is(last_subject('sql_ascii'), '636166c3a9 636166c3a9', 'stay as they are');

# A request id is a text in a table, so it must be one.
sub request_id
{
	my ($id) = @_;
	$number++;
	my $body = qq({"event_type":"EMAIL_SENT","stats_id":"r$number","event_timestamp":"2026-03-04T09:00:00Z"});
	my ($path) = webhook_url($node) =~ m{^http://[^/]+(/.*)$};
	my $answer = raw_http($port, "POST $path HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nConnection: close\r\nX-Request-Id: $id\r\n"
		  . 'Content-Length: ' . length($body) . "\r\n\r\n$body");
	return ($answer =~ m{^HTTP/1.1 (\d+)} ? $1 : 'none') . ' '
	  . $node->safe_psql('postgres', "SELECT coalesce(request_id, 'NULL') FROM smartlead_events WHERE stats_id = 'r$number'");
}
is(request_id('01890a5d-ac96-774b ~!'), '200 01890a5d-ac96-774b ~!', 'R7: a printable request id is kept');
is(request_id('x' x 128), '200 ' . 'x' x 128, 'R7: one of 128 characters, too');
is(request_id($_->[1]), '200 NULL', "R7: ignored: a request id $_->[0]")
  for [ 'that is no UTF-8', "a\xff\xfe" ], [ 'cut in a character', "caf\xc3" ], [ 'in UTF-8', "caf\xc3\xa9" ], [ 'with a tab', "a\tb" ],
  [ 'with a control character', "a\x01b" ], [ 'with DEL', "a\x7f" ], [ 'that is too long', 'x' x 129 ];
command_ok([ 'pg_dump', '-f', '/dev/null', $node->connstr('postgres') ], 'R7: all of it can be dumped');
is($node->safe_psql('postgres', q{SELECT count(*) FROM smartlead_events WHERE request_id !~ '^[ -~]+$'}), 0, 'R7: and restored');

$node->stop;
done_testing();
