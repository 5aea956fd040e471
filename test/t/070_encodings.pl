# Smartlead speaks UTF-8; databases may speak otherwise.
use strict;
use warnings;

use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SmartleadSession;
use SmartleadTest;
use Test::More;

my $node = smartlead_node('main');
my %session;
for my $encoding (qw(LATIN1 SQL_ASCII))
{
	my $database = lc $encoding;
	$node->safe_psql('postgres',
		"CREATE DATABASE $database ENCODING '$encoding' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0");
	$node->safe_psql($database, 'CREATE EXTENSION smartlead');
	connect_sandbox($node, database => $database);
	$session{$encoding} = SmartleadSession->new($node, database => $database);
	$session{$encoding}->query("SET client_encoding = '$encoding'");
}

sub answer_name
{
	my ($name) = @_;
	sandbox_post('/_sandbox/reset');
	sandbox_post('/_sandbox/fault',
		{ kind => 'wrong_type', body => qq([{"id":1,"name":"$name","tags":[{"name":"$name"}],"new":"$name"}]) });
	return;
}

# What the sandbox was sent last, as characters.
sub sent
{
	my $body = sandbox_get('/_sandbox/log')->[-1]{body};
	return JSON::PP->new->utf8->decode($body);
}

# ---- LATIN1 ----

my $latin = $session{LATIN1};
answer_name("M\x{fc}ller \x{df}");
is($latin->query('SELECT name FROM smartlead_list_campaigns()'),
	"M\xfcller \xdf", 'LATIN1: umlauts come');
answer_name("M\x{fc}ller \x{df}");
is($latin->query(q{SELECT octet_length(name), tags->0->>'name', extra->>'new' FROM smartlead_list_campaigns()}),
	"8|M\xfcller \xdf|M\xfcller \xdf", 'LATIN1: a byte each, in jsonb as well');
$latin->query(qq{SELECT smartlead_update_lead(549768, 3499513771, email => 'ada\@clinic.example',
	first_name => 'J\xf6rg', custom_fields => '{"Stra\xdfe": "G\xe4rten"}')});
my $body = sent();
is($body->{first_name}, "J\x{f6}rg", 'LATIN1: umlauts go');
is_deeply($body->{custom_fields}, { "Stra\x{df}e" => "G\x{e4}rten" }, 'LATIN1: in jsonb as well');
is($latin->query('SELECT first_name FROM smartlead_get_lead(3499513771)'),
	"J\xf6rg", 'LATIN1: and come back');

for my $column ('name', 'tags', q{extra->>'new'})
{
	answer_name("\x{1f600}");
	my ($out, $err) = $latin->query("SELECT $column FROM smartlead_list_campaigns()");
	like($err, qr/character with byte sequence 0xf0 0x9f 0x98 0x80 in encoding "UTF8" has no equivalent in encoding "LATIN1"/,
		"LATIN1: an emoji is an error that says so: $column");
}
answer_name("\x{1f600}");
is($latin->sqlstate('SELECT * FROM smartlead_list_campaigns()'), '22P05', 'of its class');
sandbox_post('/_sandbox/reset');
sandbox_post('/_sandbox/fault',
	{ kind => 'status', status => 400, body => qq({"message":"No \x{1f600} M\x{fc}ller"}) });
my (undef, $err) = $latin->query('SELECT smartlead_pause_lead(1, 2)');
like($err, qr/refused the arguments.*Smartlead said: No \?+ M\?+ller/s,
	"LATIN1: Smartlead's words in an error are shown as far as they can be");

# ---- SQL_ASCII: bytes as they are ----

my $ascii = $session{SQL_ASCII};
sandbox_post('/_sandbox/reset');
for my $sql (
	'SELECT name FROM smartlead_list_campaigns()',
	'SELECT * FROM smartlead_list_leads(549768)',
	q{SELECT smartlead_request('GET', '/campaigns/549768/leads')})
{
	$ascii->query($sql);
	is($ascii->query('SELECT 1'), '1', "SQL_ASCII: the session lives on after $sql");
}
answer_name("M\x{fc}ller");
is($ascii->query('SELECT name FROM smartlead_list_campaigns()'),
	"M\xc3\xbcller", 'SQL_ASCII: bytes come as they are');
$ascii->query(q{SELECT smartlead_update_lead(549768, 3499513771, email => 'ada@clinic.example',
	first_name => 'Jo')});
is(sent()->{first_name}, 'Jo', 'SQL_ASCII: plain text goes');
my $state = $ascii->sqlstate(qq{SELECT smartlead_update_lead(549768, 3499513771, email => 'ada\@clinic.example',
	first_name => 'J\xf6rg')});
isnt($state, '00000', 'SQL_ASCII: what is no UTF-8 is not sent') or diag explain(sent());

done_testing();
