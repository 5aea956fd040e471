# Whatever goes wrong at Smartlead or on the way is an error of its class, never a wrong result, and
# leaves nothing behind in the backend.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SmartleadSession;
use SmartleadTest;
use Test::More;

my %call = (
	listing => 'SELECT * FROM smartlead_list_campaigns()',
	paged => 'SELECT * FROM smartlead_list_leads(549768)',
	lookup => 'SELECT * FROM smartlead_get_campaign(549768)',
	action => 'SELECT smartlead_pause_lead(549768, 3499513771)',
	create => q{SELECT smartlead_create_campaign('Once')});

my $node = smartlead_node('main', conf => "log_statement = none\n");
$node->safe_psql('postgres', q{ALTER SERVER sandbox OPTIONS (ADD max_retries '1', timeout '30s')});
my $session = SmartleadSession->new($node);

sub with_fault
{
	my ($fault, $sql) = @_;
	sandbox_post('/_sandbox/reset');
	sandbox_post('/_sandbox/fault', { times => -1, %$fault });
	return $session->sqlstate($sql);
}

# ---- each fault, in each kind of call ----

# Fault; SQLSTATE of a listing, of a paged one, of a lookup, of an action, of creating a campaign.
my @classes = (
	(map { [ { kind => 'status', status => $_->[0] }, ($_->[1]) x 5 ] }
		  [ 400, 'SL400' ], [ 401, 'SL401' ], [ 403, 'SL403' ],
		[ 406, 'SL409' ], [ 408, 'SL408' ], [ 409, 'SL409' ], [ 422, 'SL400' ]),
	[ { kind => 'status', status => 404 }, qw(SL404 SL404 00000 SL404 SL404) ],
	[ { kind => 'html', status => 404 }, qw(SL404 SL404 SL404 SL404 SL404) ],
	[ { kind => 'status', status => 429, headers => { 'Retry-After' => '0' } }, ('SL429') x 5 ],
	(map { [ { kind => 'status', status => $_ }, (('SL503') x 4), 'SL520' ] } 500, 502, 503, 504),
	[ { kind => 'html', status => 502 }, qw(SL503 SL503 SL503 SL503 SL520) ],
	[ { kind => 'html', status => 200 }, qw(SL502 SL502 SL502 SL502 SL520) ],
	[ { kind => 'empty' }, qw(SL502 SL502 00000 00000 SL520) ],
	[ { kind => 'drop' }, qw(SL503 SL503 SL503 SL503 SL520) ],
	[ { kind => 'drop_mid_body' }, qw(SL503 SL503 SL503 SL503 SL520) ],
	[ { kind => 'process_then_drop' }, qw(SL503 SL503 SL503 SL503 SL520) ],
	[ { kind => 'truncated_json' }, qw(SL502 SL502 SL502 00000 SL520) ],
	[ { kind => 'invalid_json' }, qw(SL502 SL502 SL502 00000 SL520) ],
	[ { kind => 'nul' }, ('00000') x 5 ],
	[ { kind => 'bad_utf8' }, qw(SL502 SL502 SL502 00000 SL520) ],
	[ { kind => 'deep' }, qw(SL502 SL502 SL502 00000 SL520) ],
	[ { kind => 'ok_false' }, ('SL409') x 5 ],
	[ { kind => 'success_false' }, ('SL409') x 5 ],
	[ { kind => 'redirect' }, ('SL502') x 5 ]);

for my $class (@classes)
{
	my ($fault, @expected) = @$class;
	my $what = join ' ', grep { defined } @$fault{qw(kind status)};
	my @states = map { with_fault($fault, $call{$_}) } qw(listing paged lookup action create);
	is("@states", "@expected", "$what: a listing, a paged one, a lookup, an action, a creation");
}

# A page with rows where a type is wrong for its content is read all the same.
sandbox_post('/_sandbox/reset');
sandbox_post('/_sandbox/fault',
	{ kind => 'wrong_type', body => '[{"id":1,"name":"typed as html"}]' });
is($session->query('SELECT name FROM smartlead_list_campaigns()'),
	'typed as html', 'JSON that calls itself HTML is read');

# ---- a listing is whole or an error ----

$session->query('CREATE TABLE copied AS SELECT * FROM smartlead_list_leads(549768, max_rows => 0)');
my %pages = (
	'status 400' => [ { kind => 'status', status => 400 }, 'SL400' ],
	'status 503' => [ { kind => 'status', status => 503, times => -1 }, 'SL503' ],
	'dropped within the body' => [ { kind => 'drop_mid_body', times => -1 }, 'SL503' ],
	'empty' => [ { kind => 'empty', times => -1 }, 'SL502' ],
	'truncated' => [ { kind => 'truncated_json' }, 'SL502' ],
	'no list' => [ { kind => 'wrong_type', body => '{"ok":true}' }, 'SL502' ]);
for my $what (sort keys %pages)
{
	my ($fault, $expected) = @{ $pages{$what} };
	is( with_fault(
			{ times => 1, %$fault, path => '/campaigns/600001/leads', skip => 49 },
			'INSERT INTO copied SELECT * FROM smartlead_list_leads(600001)'),
		$expected,
		"a listing whose 50th page is $what is an error");
	is($session->query('SELECT count(*) FROM copied'), 0, 'and returns no rows');
}
sandbox_post('/_sandbox/reset');
sandbox_post('/_sandbox/fault', { kind => $_, path => '*/leads', skip => 49 })
  for qw(drop_mid_body empty drop);
is($session->query('SELECT count(*), count(DISTINCT lead_id) FROM smartlead_list_leads(600001)'),
	'10000|10000', 'pages that fail once are asked for again');

# Rows that a cursor has not fetched yet are there: the listing was complete before the first.
sandbox_post('/_sandbox/reset');
$session->query("BEGIN;\nDECLARE c CURSOR FOR SELECT lead_id FROM smartlead_list_leads(600001);\n"
	  . 'FETCH 1 FROM c');
stop_sandbox();
is($session->query("SELECT 1;\nMOVE ALL FROM c;\nCOMMIT"), '1', 'a cursor reads on without Smartlead');
start_sandbox();
my $url = sandbox_url();
$node->safe_psql('postgres', "ALTER SERVER sandbox OPTIONS (SET base_url '$url')");

# ---- time and size ----

$node->safe_psql('postgres', q{ALTER SERVER sandbox OPTIONS (SET timeout '200ms')});
is(with_fault({ kind => 'hang' }, $call{lookup}), 'SL408', 'no answer within the timeout');
is(with_fault({ kind => 'hang' }, $call{create}), 'SL520', 'of a creation: outcome unknown');
is(with_fault({ kind => 'drip', delay_ms => 50 }, $call{listing}),
	'SL408', 'the timeout is of the whole answer, however it trickles');
$node->safe_psql('postgres', q{ALTER SERVER sandbox OPTIONS (SET timeout '30s')});

# What the backend's memory is, and has been at most, in kB.
sub memory
{
	my ($what) = @_;
	my ($kb) = slurp_file('/proc/' . $session->pid . '/status') =~ /^$what:\s+(\d+)/m;
	return $kb;
}

SKIP:
{
	skip 'no /proc', 5 unless -r '/proc/self/status';
	$session = SmartleadSession->new($node);
	sandbox_post('/_sandbox/reset');
	$session->query($call{listing});
	my $before = memory('VmRSS');
	is(with_fault({ kind => 'huge' }, $call{listing}), 'SL502', 'an answer without end');
	cmp_ok(memory('VmHWM') - $before, '<=', 150 * 1024, 'is read to the limit, no further');
	cmp_ok(memory('VmRSS') - $before, '<=', 5 * 1024, 'and its memory is given back');

	# Ten thousand calls of all kinds, with all kinds of ends.
	my $loop = <<'SQL';
DO $$
DECLARE states text[] := '{}'; state text;
BEGIN
	FOR i IN 1 .. %d LOOP
		BEGIN
			CASE i %% 5
			WHEN 0 THEN PERFORM count(*) FROM smartlead_list_leads(549768);
			WHEN 1 THEN PERFORM smartlead_get_campaign(549768);
			WHEN 2 THEN PERFORM smartlead_pause_lead(549768, 3499513771);
			WHEN 3 THEN PERFORM smartlead_get_lead('ada@clinic.example');
			WHEN 4 THEN PERFORM smartlead_list_campaigns(); END CASE;
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE;
			states := states || state;
			IF cardinality(states) > 100 THEN states := '{}'; END IF;
		END;
	END LOOP;
END $$
SQL
	my @faults = (
		(map { { kind => 'status', status => $_ } } 400, 401, 404, 503),
		(map { { kind => $_ } } qw(truncated_json nul deep drop drop_mid_body empty ok_false)));
	my $some_calls = sub {
		my ($count) = @_;
		sandbox_post('/_sandbox/reset');
		for my $i (0 .. $#faults)
		{
			sandbox_post('/_sandbox/fault', { %{ $faults[$i] }, times => $count / 100, skip => $i });
		}
		return $session->sqlstate(sprintf $loop, $count);
	};
	$node->safe_psql('postgres', q{ALTER SERVER sandbox OPTIONS (SET max_retries '0')});
	$some_calls->(1000);
	$before = memory('VmRSS');
	is($some_calls->(10000), '00000', 'ten thousand calls, one in ten with a fault');
	my $after = memory('VmRSS');
	cmp_ok($after - $before, '<=', 3 * 1024, 'leave no memory behind');
	note "resident memory: $before kB before, $after kB after";
}

is($session->query('SELECT count(*) FROM smartlead_list_leads(549768)'), 5, 'the session is well');

done_testing();
