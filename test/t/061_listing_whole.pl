# A listing is whole or an error, whatever pages the service gives: short ones, capped ones, the same
# one again, with a total that is right, wrong or missing. And it asks for no more than it needs.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SmartleadSession;
use SmartleadTest;
use Test::More;

my $node = smartlead_node('main', conf => "log_statement = none\n", sandbox => [ '--big', 350 ]);
connect_sandbox($node, name => 'many', key => 'sandbox-key-many');
my $session = SmartleadSession->new($node);
# So that what would never end is a failure.
$session->query("SET statement_timeout = '120s';\nSET smartlead.connection = 'sandbox'");

my %list = (
	leads => 'smartlead_list_leads(600002%s)',
	accounts => q{smartlead_list_email_accounts(connection => 'many'%s)});
my %path = (leads => '/campaigns/600002/leads', accounts => '/email-accounts');
my %count = (leads => 350, accounts => 250);

sub with_faults
{
	my (@faults) = @_;
	sandbox_post('/_sandbox/reset');
	sandbox_post('/_sandbox/fault', { times => -1, %$_ }) for @faults;
	return;
}

# All rows, once each: "350|350|0"; or the SQLSTATE.
sub listed
{
	my ($what, $arguments) = @_;
	my $id = $what eq 'leads' ? 'lead_id' : 'id';
	my $call = sprintf $list{$what}, $arguments // '';
	my ($result, $error) =
	  $session->query("SELECT count(*), count(DISTINCT $id) FROM $call");
	return $error eq '' ? $result : $session->sqlstate("SELECT count(*) FROM $call");
}

sub requests
{
	return scalar @{ sandbox_get('/_sandbox/log') };
}

foreach my $concurrency (1, 8)
{
	$node->safe_psql('postgres',
		"ALTER SERVER $_ OPTIONS (@{[$concurrency == 1 ? 'ADD' : 'SET']} fetch_concurrency '$concurrency')")
	  for qw(sandbox many);
	foreach my $what (sort keys %list)
	{
		my $rows = "$count{$what}|$count{$what}";
		my @here = (path => $path{$what});
		my $said = "$what, $concurrency at once";

		foreach my $cap (99, 50, 7, 2, 1)
		{
			with_faults({ @here, kind => 'page', rows => $cap });
			is(listed($what), $rows, "C1: pages of $cap rows at most are a whole listing ($said)");
		}
		foreach my $cut (99, 30, 2, 1, 0)
		{
			# Without a total an empty page is all that tells the end.
			next if $cut == 0 && $what eq 'accounts';
			foreach my $page (0 .. 3)
			{
				with_faults({ @here, kind => 'page', rows => $cut, times => 1, skip => $page });
				is(listed($what), $rows,
					"C1: a short page, number $page of $cut rows, loses none ($said)");
			}
		}
		with_faults({ @here, kind => 'ignore_offset' });
		is(listed($what), 'SL502', "C2: offsets that are ignored are an error ($said)");
		cmp_ok(requests(), '<=', 30, "C2: and are seen soon ($said)");
		with_faults({ @here, kind => 'ignore_offset', skip => 2 });
		is(listed($what), 'SL502', "C2: so are those ignored from the third page on ($said)");
	}

	my @leads = (path => $path{leads}, kind => 'page');
	my $said = "$concurrency at once";
	with_faults({ @leads, total => undef });
	is(listed('leads'), '350|350', "C1: a listing that tells no total ($said)");
	with_faults({ @leads, total => undef, rows => 50 });
	is(listed('leads'), '350|350', "C1: of capped pages without a total ($said)");
	with_faults({ @leads, total => undef, times => 2, skip => 1 });
	is(listed('leads'), '350|350', "C1: a total that two pages don't tell ($said)");
	with_faults({ @leads, total => 100, times => 1 });
	is(listed('leads'), '350|350', "C1: a total that grows while it is listed ($said)");
	with_faults({ @leads, total => 100 });
	is(listed('leads'), '350|350', "C1: a total that is less than the full pages hold ($said)");
	with_faults({ @leads, total => 150 });
	is(listed('leads'), '350|350', "C1: or too small ($said)");
	with_faults({ @leads, total => 9000, times => 2 });
	is(listed('leads'), '350|350', "C1: a total that shrinks while it is listed ($said)");
	with_faults({ @leads, total => 351 });
	is(listed('leads'), 'SL502', "C1: a total that is more than all pages hold is an error ($said)");
	with_faults({ @leads, total => 0, rows => 0 });
	is(listed('leads'), '0|0', "C1: a listing without rows ($said)");
	with_faults({ @leads, rows => 0 });
	is(listed('leads'), 'SL502', "C1: pages without rows where there are some ($said)");

	# ---- no more than is wanted ----

	foreach my $wanted (1, 50, 99, 100, 101, 105, 198, 199, 200, 350)
	{
		with_faults();
		is(listed('leads', ", max_rows => $wanted"), "$wanted|$wanted", "C3: $wanted rows are wanted ($said)");
		my $log = sandbox_get('/_sandbox/log');
		cmp_ok(scalar @$log, '<=', 1 + int(($wanted + 97) / 99), "C3: and no page too many is asked for ($said)");
		my ($limit) = $log->[0]{query} =~ /limit=(\d+)/;
		is($limit, $wanted < 100 ? $wanted : 100, "C3: the first page asks for no more rows ($said)");
	}
	foreach my $shift (qw(insert delete swap))
	{
		with_faults();
		sandbox_post('/_sandbox/config', { shift => $shift });
		is($session->query('SELECT count(*), count(DISTINCT lead_id) FROM smartlead_list_leads(600001, max_rows => 105)'),
			'105|105', "C3: 105 rows are wanted of rows that move ($shift, $said)");
		cmp_ok(requests(), '<=', 4, "C3: and few pages are asked for ($shift, $said)");
	}
	with_faults({ path => $path{leads}, kind => 'status', status => 400, skip => 1 });
	is(listed('leads', ', max_rows => 100'), '100|100',
		"C3: nothing is asked once enough rows are there ($said)");

	# ---- the usual requests ----

	with_faults();
	listed('leads');
	is(requests(), 4, "350 leads are four pages ($said)");
	with_faults();
	$session->query('SELECT count(*) FROM smartlead_list_leads(549768)');
	is(requests(), 1, "five leads are one page ($said)");
	with_faults();
	$session->query('SELECT count(*) FROM smartlead_list_email_accounts()');
	is(requests(), 2, "five accounts, which have no total, are a page and a look past it ($said)");
	with_faults();
	listed('accounts');
	cmp_ok(requests(), '<=', $concurrency == 1 ? 4 : 7, "250 accounts are three pages and a look past them ($said)");
}

# ---- a service that has no pages ----

my $answer = '[' . join(',', map { qq({"id":$_}) } 1 .. 3) . ']';
with_faults({ kind => 'status', path => '/email-accounts', status => 200, body => $answer });
is($session->query("SELECT count(*) FROM smartlead_list_email_accounts(connection => 'many')"),
	3, 'C1: one answer to whatever is asked is all there is');
$answer = '[' . join(',', map { qq({"id":$_}) } 1 .. 2000) . ']';
with_faults({ kind => 'status', path => '/email-accounts', status => 200, body => $answer });
is($session->query("SELECT count(*) FROM smartlead_list_email_accounts(connection => 'many')"),
	2000, 'C1: however long it is');
with_faults({ kind => 'status', path => '/email-accounts', status => 200, body => '[{"id":1}]' });
is($session->query("SELECT count(*) FROM smartlead_list_email_accounts(connection => 'many')"),
	1, 'C1: or short');
with_faults({ kind => 'status', path => '/email-accounts', status => 200, body => '[]' });
is($session->query("SELECT count(*) FROM smartlead_list_email_accounts(connection => 'many')"),
	0, 'C1: or empty');
with_faults({ kind => 'status', path => '/campaigns', status => 200, body => '{"total":3,"data":[{"id":1},{"id":2}]}' });
is($session->sqlstate('SELECT count(*) FROM smartlead_list_campaigns()'),
	'SL502', 'C1: an answer without pages that tells of more rows than it holds is an error');
with_faults({ kind => 'status', path => '/email-accounts', status => 200, body => '[{"id":1},{"name":"none"}]' });
is($session->sqlstate("SELECT count(*) FROM smartlead_list_email_accounts(connection => 'many')"),
	'SL502', 'a row without its id is an error');

done_testing();
