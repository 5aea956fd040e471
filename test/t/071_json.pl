# JSON from outside: one policy, whether a text comes as an answer or as a webhook.
use strict;
use warnings;

use IO::Socket::INET;
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SmartleadSession;
use SmartleadTest;
use Test::More;
use WebhookTest;

my ($node, $port) = webhook_node('json');
my $url = webhook_url($node);
my $answer_file = "$PostgreSQL::Test::Utils::tmp_check/answer.$$";
my ($server, $server_port) = start_server();

$node->safe_psql('postgres', qq{
	CREATE SERVER bytes FOREIGN DATA WRAPPER smartlead
		OPTIONS (base_url 'http://127.0.0.1:$server_port/api/v1', rate_limit 'none', max_retries '0');
	CREATE USER MAPPING FOR CURRENT_USER SERVER bytes OPTIONS (api_key 'unused');
	CREATE TABLE answers (answer jsonb);});
my $session = SmartleadSession->new($node);
$session->query(q{SET smartlead.connection = 'bytes'});
my $watch = SmartleadSession->new($node);

# A service whose answer is the file's bytes. It ends with the test, also when that is killed.
sub start_server
{
	my $listener = IO::Socket::INET->new(Listen => 10, LocalAddr => '127.0.0.1') or die "listen: $!";
	my $test = $$;
	my $pid = fork() // die "fork: $!";
	return ($pid, $listener->sockport) if $pid;
	$SIG{TERM} = 'DEFAULT';
	$SIG{PIPE} = 'IGNORE';
	$listener->timeout(1);
	while (getppid() == $test)
	{
		my $client = $listener->accept or next;
		my ($head, $length) = ('', 0);
		while (my $line = <$client>)
		{
			$length = $1 if $line =~ /^Content-Length:\s*(\d+)/i;
			last if $line =~ /^\r?\n$/;
		}
		read $client, $head, $length if $length;
		open my $file, '<:raw', $answer_file or POSIX::_exit(1);
		local $/;
		my $body = <$file>;
		print {$client} "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: "
		  . length($body) . "\r\n\r\n", $body;
		close $client;
	}
	POSIX::_exit(0);
}

END
{
	my $status = $?;
	if (defined $server)
	{
		kill 'TERM', $server;
		waitpid $server, 0;
	}
	$? = $status;
}

sub set_answer
{
	my ($bytes) = @_;
	open my $file, '>:raw', "$answer_file.new" or die $!;
	print {$file} $bytes;
	close $file;
	rename "$answer_file.new", $answer_file or die $!;
	return;
}

# What becomes of the text as an answer: 'refused: why', or 'read', and then the value is in answers.
sub as_answer
{
	my ($text) = @_;
	set_answer($text);
	my (undef, $error) =
	  $session->query(q{TRUNCATE answers; INSERT INTO answers SELECT smartlead_request('GET', '/x')});
	return 'read' unless $error;
	return "refused: $1" if $error =~ /can't be read\nDETAIL:  (.*)/;
	return $error;
}

# And as a webhook: 'refused', 'aside: why', or 'read', and then it is the last event.
sub as_webhook
{
	my ($text) = @_;
	my $failed = $watch->query('SELECT coalesce(max(id), 0) FROM smartlead_failed_events');
	my $status = send_body($url, $text);
	return 'refused' if $status == 400;
	return $status if $status != 200;
	my $why = $watch->query("SELECT error FROM smartlead_failed_events WHERE id > $failed");
	return $why eq '' ? 'read' : "aside: $why";
}

my $number = 0;

# An event that holds the value, so that no two are one.
sub event_of
{
	my ($value) = @_;
	$number++;
	return qq({"event_type":"TRIED","n":$number,"value":$value});
}

sub both_read
{
	my ($what, $value, $right) = @_;
	my $text = event_of($value);
	$right =~ s/'/''/g;
	is(as_answer($text) . ', ' . as_webhook($text), 'read, read', "$what: an answer and a webhook are read");
	is( scalar $watch->query(qq{
			SELECT a.answer = e.payload AND a.answer::text = e.payload::text, (e.payload->'value')::text = '$right'::jsonb::text
			FROM answers a, (SELECT payload FROM smartlead_events ORDER BY id DESC LIMIT 1) e}),
		't|t', "$what: and are the same")
	  or diag $watch->query(
		'SELECT left(answer::text, 200) FROM answers UNION ALL (SELECT left(payload::text, 200) FROM smartlead_events ORDER BY id DESC LIMIT 1)');
	return;
}

# ---- numbers ----

both_read("C8: the number $_", $_, $_)
  for '1e308', '9.9e308', '-1e308', '1.7976931348623157e308', '5e-324', '1e-300', '1.50', '-0.0', '0e7', '1e22', '1E+2',
  '9007199254740993', '-9007199254740993', '12345678901234567890.12345678901234567890', '0.1', '0.30000000000000004',
  '999999999999999', '1000000000000000', '-999999999999999', '1' . ('0' x 308), '0.' . ('3' x 900);

for my $out ('1e999', '-1e999', '1e309', '1e400000', '1e99999999999999999999', '1e-400', '-1e-99999999999', '0e999999',
	'1' . ('0' x 309), '0.' . ('0' x 330) . '1', '3' x 2000, '123e307')
{
	my $text = event_of($out);
	my $shown = length $out > 40 ? substr($out, 0, 40) . '...' : $out;
	is(as_answer($text), "refused: The number $shown is out of range.", "C8: $shown in an answer is refused by name");
	is(as_webhook($text), "aside: the number $shown is out of range", "C8: $shown in a webhook is put aside by name");
}
like(($watch->query('SELECT smartlead_retry_event(max(id)) FROM smartlead_failed_events'))[1],
	qr/the number 123e307 is out of range/, 'C8: nor is it stored when it is tried again');
is(scalar $watch->query(q{SELECT count(*) FROM smartlead_events WHERE payload::text ~ 'Infinity|NaN'}), 0,
	'C8: no infinity in any payload');

# ---- characters ----

my $long = '12345678901234567890';
both_read("C8: $_ beside a long number", qq([$long, $_]), qq([$long, $_]))
  for '"\u0001x"', '"\u00015"', '"\u001f12345678901234567890"', "\"\xc3\xbf5\"", '"\u00ff5"', '""', '"5"', '"\""', '"\\\\"',
  '"\\\\\"12345678901234567890"', '{"\u00015":1}', "{\"12345678901234567890\":\"\\u0001\"}";
both_read('C8: the character \u0000', '["a\u0000b", {"c\u0000": 1}]', '["a\ufffdb", {"c\ufffd": 1}]');
both_read("C8: half a surrogate: $_->[0]", $_->[0], $_->[1])
  for [ '"\ud83d"', '"\ufffd"' ], [ '"cut \ud83d off"', '"cut \ufffd off"' ], [ '"\ude00"', '"\ufffd"' ],
  [ '"\ude00\ud83d"', '"\ufffd\ufffd"' ], [ '"\ud83d\ud83d\ude00"', "\"\xef\xbf\xbd\xf0\x9f\x98\x80\"" ],
  [ '"\ud83d\u0041"', '"\ufffdA"' ], [ '"\uD83D\n"', '"\ufffd\n"' ], [ '{"\ud83d": 1}', '{"\ufffd": 1}' ];
both_read('C8: all escapes', '"\"\\\\\/\b\f\n\r\t\u00e9\u20ac\ud83d\ude00"', '"\"\\\\\/\b\f\n\r\t\u00e9\u20ac\ud83d\ude00"');
both_read('C8: of one name the last one', '{"a":1,"b":2,"a":null}', '{"a":null,"b":2}');
{
	my $text = "\xef\xbb\xbf" . event_of(1);
	is(as_answer($text) . ', ' . as_webhook($text), 'read, read', 'C8: a byte order mark is passed over by both');
}

# ---- what neither reads ----

for my $bad (
	(map { [ event_of($_), 'It is not valid JSON.' ] } '01', '1.', '.5', '+1', '1e', '0x10', 'NaN', 'Infinity', '-Infinity', 'nul', 'True',
		"'a'", '"\x"', "\"a\tb\"", "\"a\0b\"", '"\u12g4"', '[1,]', '[,1]', '{"a"}', '{"a":1,}', '{1:2}', '[1}', '{"a":1]', '1 2', '/**/1'),
	[ '{"a":1}}', 'It is not valid JSON.' ],
	(map { [ event_of($_), 'It is not valid UTF-8 text.' ] } "\"\xff\"", "\"\xc0\x80\"", "\"\xed\xa0\xbd\"", "\"\xf4\x90\x80\x80\"", "\"\xe2\x82\""),
	(map { [ $_, 'It ends before the JSON is complete.' ] } '{', '{"a', '{"a":', '[1', '[1,', '{"a":1', '["a\\'),
	[ event_of('[' x 256 . ']' x 256), 'It is nested more than 256 levels deep.' ],
	[ event_of('[' x 100000), 'It is nested more than 256 levels deep.' ],
	[ event_of('{"a":' x 100000), 'It is nested more than 256 levels deep.' ],
	[ event_of('[' . '0,' x 1_000_000 . '0]'), 'It holds too many values for its length.' ],
	[ event_of('[' . '[],' x 1_000_000 . '0]'), 'It holds too many values for its length.' ],
	[ event_of('[' . '1e300,' x 100_000 . '0]'), 'It holds too many values for its length.' ])
{
	my ($text, $why) = @$bad;
	my $shown = substr $text, 0, 60;
	$shown =~ s/[^ -~]/?/g;
	is(as_answer($text) . ', ' . as_webhook($text), "refused: $why, refused", "C8: $shown");
}
both_read('C8: 255 levels in one', '[' x 255 . ']' x 255, '[' x 255 . ']' x 255);

# ---- anything at all ----

my $seed = $ENV{SMARTLEAD_SEED} || 20260303;
my $tries = $ENV{SMARTLEAD_FUZZ} || 100;
srand $seed;
my @pieces = ('{', '}', '[', ']', ',', ':', '"', '\\', '\u', '\ud83d', '\ude00', '\u0000', '\u0001', "\xff", "\xc3", "\xe2\x82\xac", "\0",
	' ', 'e', '.', '-', '+', '0', '9', '1e999', 'true', 'null', '"a":', '12345678901234567890', '{"id":');
my ($agreed, $were_read) = (0, 0);
for my $try (1 .. $tries)
{
	my $text = event_of('{"a":[1,-2.50,"b\u00e9\ud83d\ude00",{"c":null,"d":[true,false,12345678901234567890]}],"e":"\n"}');
	for (1 .. 1 + int rand 3)
	{
		my $at = 1 + int rand(length($text) - 1);
		my $kind = int rand 3;
		substr($text, $at, $kind == 0 ? 0 : 1 + int rand 4) = $kind == 2 ? '' : $pieces[ rand @pieces ];
	}
	my ($answer, $webhook) = (as_answer($text), as_webhook($text));
	my $same = $answer eq 'read' && $webhook eq 'read'
	  ? $watch->query(
		q{SELECT a.answer = e.payload FROM answers a, (SELECT payload FROM smartlead_events ORDER BY id DESC LIMIT 1) e}) eq 't'
	  : $answer =~ /^refused: The number/ ? $webhook =~ /^aside: the number/
	  : $answer =~ /^refused: It / && $webhook eq 'refused';
	$agreed++ if $same;
	$were_read++ if $answer eq 'read';
	diag "seed $seed, try $try: $answer, $webhook: $text" unless $same;
}
is($agreed, $tries, "C8: $tries texts with random faults are the same to both");
cmp_ok($were_read, '>', 0, 'C8: some of them could be read');
is($session->query('SELECT 1'), '1', 'C8: the session is well');
ok(receiver_listens($port), 'C8: the receiver is well');

# ---- memory and interrupts ----

my $backend = $session->pid;

# The most memory that the session ever had, in kB.
sub peak
{
	return slurp_file("/proc/$backend/status") =~ /^VmHWM:\s+(\d+)/m ? $1 : undef;
}

# Processor time that the session has used, in ticks.
sub ticks
{
	my ($after_name) = slurp_file("/proc/$backend/stat") =~ /\) (.*)/;
	my @fields = split ' ', $after_name;
	return $fields[11] + $fields[12];
}

SKIP:
{
	skip 'no /proc', 6 unless -r "/proc/$backend/stat";

	my $rows = 30_000;
	my $row = '"user_id":1,"created_at":"2026-01-01T00:00:00.000Z","updated_at":"2026-01-01T00:00:00.000Z","status":"ACTIVE",'
	  . '"track_settings":["DONT_TRACK_EMAIL_OPEN"],"scheduler_cron_value":{"tz":"Europe/Berlin","days":[1,2,3,4,5],"endHour":"17:00","startHour":"09:00"},'
	  . '"min_time_btwn_emails":15,"max_leads_per_day":100,"stop_lead_settings":"REPLY_TO_AN_EMAIL","follow_up_percentage":40,"client_id":null,'
	  . '"parent_campaign_id":null,"unsubscribe_text":"Don\'t want to hear from me again? Tell me, and I will not write any more.","esp":0.25';
	my $before = peak();
	set_answer('[' . '0,' x (4 * 1024 * 1024 - 1) . '0]');
	like(($session->query(q{SELECT jsonb_array_length(smartlead_request('GET', '/x'))}))[1],
		qr/holds too many values/, 'C9: 8 MB of [0,0,...] are refused');
	cmp_ok(peak() - $before, '<', 100 * 1024, 'C9: and take no more memory than they must');

	set_answer('[' . join(',', map { qq({"id":$_,"name":"Campaign number $_",$row}) } 1 .. $rows) . ']');
	note 'rows of ' . (-s $answer_file) . ' bytes';
	is($session->query(q{SELECT count(*), sum(id), sum((extra->>'esp')::numeric) FROM smartlead_list_campaigns()}),
		"$rows|" . $rows * ($rows + 1) / 2 . '|' . sprintf('%.2f', $rows / 4), 'C9: tens of megabytes of rows are read');
	note 'memory: ' . (peak() - $before) . ' kB more';
	cmp_ok(peak() - $before, '<', 500 * 1024, 'C9: in a bounded memory');

	# A call that is canceled after some of its work must not do it to the end. How long it takes until
	# the cancellation arrives is up to the machine, so it may take several calls to see it.
	set_answer('[' . '1000,' x 2_000_000 . '1000]');
	my $call = q{SELECT jsonb_array_length(smartlead_request('GET', '/x'))};
	my $start = ticks();
	is($session->query($call), 2_000_001, 'C9: two million values are read');
	my $whole = ticks() - $start;
	my $ended_early = 0;
	for my $try (1 .. 12)
	{
		$start = ticks();
		$session->start($call);
		wait_until(sub { ticks() - $start >= 0.3 * $whole }, 'the session is at work');
		$node->safe_psql('postgres', "SELECT pg_cancel_backend($backend)");
		my (undef, $error) = $session->finish;
		my $used = ticks() - $start;
		note "canceled after " . ($used / $whole) . " of the work: $error";
		next unless $error =~ /canceling statement due to user request/;
		$ended_early = 1 if $used < 0.8 * $whole;
		last if $ended_early;
	}
	ok($ended_early, 'C9: a call is canceled while its answer is being read');
}

$session->query('SELECT 1');
$node->stop;
done_testing();
