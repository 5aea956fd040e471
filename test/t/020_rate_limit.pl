# The rate limit: one key, one limit, however many sessions, connections and strangers use it.
use strict;
use warnings;

use List::Util qw(max min sum);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SmartleadSession;
use SmartleadTest;
use Test::More;
use Time::HiRes qw(time);

my $node = smartlead_node('main', conf => "smartlead.connection = sandbox\nlog_statement = none\n");

sub limit
{
	my ($server, $limit) = @_;
	$node->safe_psql('postgres', "ALTER SERVER $server OPTIONS (SET rate_limit '$limit')");
	return;
}

# So many calls, one after the other, in each of so many sessions at once.
sub calls
{
	my ($on, $calls, @sessions) = @_;
	my $sql = "DO \$\$ BEGIN FOR i IN 1 .. $calls LOOP "
	  . 'PERFORM smartlead_get_campaign(549768); COMMIT; END LOOP; END $$';
	$_->start_sqlstate($sql) for @sessions;
	return join ' ', map { $_->finish_sqlstate } @sessions;
}

sub sessions
{
	my ($on, $count) = @_;
	return map { SmartleadSession->new($on) } 1 .. $count;
}

# From the arrival of the first request to that of the last, in seconds.
sub duration
{
	my @at = map { $_->{at} } @{ sandbox_get('/_sandbox/log') };
	return (max(@at) - min(@at)) / 1000;
}

# The same as whoever calls sees it: from before the first grant until after the last answer. So a machine that
# is slow to carry a request makes it longer, never shorter.
sub seconds_of
{
	my ($work) = @_;
	my $began = time;
	$work->();
	return time - $began;
}

sub throttled
{
	return sandbox_get('/_sandbox/counts')->{throttled};
}

# The most requests that arrived within any span of that many milliseconds.
sub most_within
{
	my ($span) = @_;
	my @at = sort { $a <=> $b } map { $_->{at} } @{ sandbox_get('/_sandbox/log') };
	my $most = 0;
	for my $i (0 .. $#at)
	{
		$most = max($most, scalar grep { $_ >= $at[$i] && $_ < $at[$i] + $span } @at);
	}
	return $most;
}

my @four = sessions($node, 4);

# ---- four sessions, ten requests in two seconds: the floor is five full windows ----

# The sandbox refuses nothing here: it is the extension that keeps its sessions waiting.
limit('sandbox', '10/2s');
sandbox_post('/_sandbox/config', { rate_limit => 'none' });
my $took = seconds_of(
	sub {
		is(calls($node, 15, @four), '00000 00000 00000 00000', '60 calls of 4 sessions at once succeed');
	});
cmp_ok($took, '>=', 10, 'in no less time than their limit allows');
is(sandbox_get('/_sandbox/counts')->{requests}, 60, 'none was made twice');
note sprintf '60 requests took %.2f s, the floor is 10 s', duration();

# ---- two connections with the same key share its limit ----

connect_sandbox($node, name => 'second', options => { rate_limit => '5/1s' });
sandbox_post('/_sandbox/reset');
limit('sandbox', '5/1s');
sandbox_post('/_sandbox/config', { rate_limit => 'none' });
$_->query('SET smartlead.connection = second') for @four[ 2, 3 ];
$took = seconds_of(
	sub {
		is(calls($node, 5, @four), '00000 00000 00000 00000', 'two connections with one key');
	});
cmp_ok($took, '>=', 3, 'share its limit: twenty requests at five a second');
$_->query('RESET smartlead.connection') for @four;

# ---- refusals ----

# Somebody else has used up the key: all sessions wait as long as the refusal says.
sandbox_post('/_sandbox/reset');
limit('sandbox', '100/1s');
sandbox_post('/_sandbox/fault',
	{ kind => 'status', status => 429, headers => { 'Retry-After' => '2' } });
$four[0]->start_sqlstate('SELECT smartlead_get_campaign(549768)');
ok(wait_until(sub { throttled() == 1 }, 'the refusal'), 'a call is refused');
is(calls($node, 1, @four[ 1 .. 3 ]), '00000 00000 00000', 'the other sessions succeed');
is($four[0]->finish_sqlstate, '00000', 'and so does the call that was refused');
my @at = map { $_->{at} } @{ sandbox_get('/_sandbox/log') };
is(scalar @at, 5, 'with one request more than calls');
cmp_ok(min(@at[ 1 .. 4 ]) - $at[0], '>=', 1990, 'none was sent before the time that it named');

# The newer documentation's refusal tells it in its body alone.
sandbox_post('/_sandbox/reset');
sandbox_post(
	'/_sandbox/fault',
	{
		kind => 'status',
		status => 429,
		body => '{"error":{"code":"RATE_LIMIT_EXCEEDED","message":"Rate limit exceeded","retry_after":2}}'
	});
is(calls($node, 1, $four[0]), '00000', 'a refusal whose body tells when is waited out');
@at = map { $_->{at} } @{ sandbox_get('/_sandbox/log') };
cmp_ok($at[1] - $at[0], '>=', 1990, 'for as long as that');

# A number there that can't be one of seconds must not lock the key up.
sandbox_post('/_sandbox/reset');
sandbox_post(
	'/_sandbox/fault',
	{ kind => 'status', status => 429, body => '{"error":{"message":"no","retry_after":1767225600}}' });
is(calls($node, 1, @four[ 0, 1 ]), '00000 00000', 'a time in place of seconds is not waited for');

# Refused without a word about when: later and later.
sandbox_post('/_sandbox/reset');
sandbox_post('/_sandbox/fault', { kind => 'status', status => 429, times => 2 });
is(calls($node, 1, $four[0]), '00000', 'a refusal without Retry-After is waited out');
@at = map { $_->{at} } @{ sandbox_get('/_sandbox/log') };
cmp_ok($at[1] - $at[0], '>=', 499, 'by half a second at least');
cmp_ok($at[2] - $at[1], '>=', 999, 'and then by more');

sandbox_post('/_sandbox/reset');
$node->safe_psql('postgres', q{ALTER SERVER sandbox OPTIONS (ADD max_retries '1')});
sandbox_post('/_sandbox/fault', { kind => 'status', status => 429, times => -1 });
is(calls($node, 1, $four[0]), 'SL429', 'for ever refused: an error');
$node->safe_psql('postgres', 'ALTER SERVER sandbox OPTIONS (DROP max_retries)');

# ---- strangers ----

# Another program uses the key, and the answers' headers tell: we leave it its share. One session,
# since what several have under way at once hides some of the other's requests for a moment.
# Each time with a key of which neither side remembers anything.
for my $headers (0, 1)
{
	my $key = $headers ? 'sandbox-key-many' : 'sandbox-key-beta';
	$node->safe_psql('postgres', "ALTER USER MAPPING FOR CURRENT_USER SERVER sandbox OPTIONS (SET api_key '$key')");
	sandbox_post('/_sandbox/reset');
	sandbox_post('/_sandbox/config',
		{ rate_limit => '20/2s', rate_headers => $headers ? \1 : \0 });
	http_request('GET', sandbox_url() . '/campaigns/549768?api_key=' . $key) for 1 .. 12;
	limit('sandbox', '20/2s');
	is(calls($node, 15, $four[0]), '00000', 'calls beside a stranger succeed');
	if ($headers)
	{
		is(throttled(), 0, 'without a refusal, learnt from the headers');
	}
	else
	{
		cmp_ok(throttled(), '>', 0, 'who betrays himself by refusals when no header tells');
	}
}

# ---- no limit; and no shared memory ----

$node->safe_psql('postgres',
	q{ALTER USER MAPPING FOR CURRENT_USER SERVER sandbox OPTIONS (SET api_key 'sandbox-key-alpha')});
sandbox_post('/_sandbox/reset');
limit('sandbox', 'none');
is(calls($node, 50, @four), '00000 00000 00000 00000', 'without a limit');
cmp_ok(most_within(2000), '>', 20, 'nothing is held back');

$node->append_conf('postgresql.conf', "shared_preload_libraries = ''");
$node->restart;
sandbox_post('/_sandbox/reset');
limit('sandbox', '10/1s');
sandbox_post('/_sandbox/config', { rate_limit => 'none' });
my ($alone) = sessions($node, 1);
$took = seconds_of(sub { is(calls($node, 35, $alone), '00000', 'a session without shared memory') });
cmp_ok($took, '>=', 3, 'keeps the limit by itself');
note sprintf '35 requests took %.2f s, the floor is 3 s', duration();

done_testing();
