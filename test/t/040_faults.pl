# Every way in which an answer can be bad: an error of the right class, never a short list, never a
# growing backend.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SmartleadTest;
use Test::More;

my $node = smartlead_node('main', conf => "smartlead.max_response_size = '4MB'");
$node->safe_psql('postgres', q{ALTER SERVER sandbox OPTIONS (ADD max_retries '1', ADD timeout '1s')});

sub outcome
{
	my ($sql) = @_;
	my ($code, $out, $err) = $node->psql('postgres', "\\set VERBOSITY sqlstate\n$sql");
	return $err =~ /ERROR:\s+(\S+)/ ? $1 : $out;
}

my %call = (
	listing => q{SELECT count(*) FROM smartlead_list_leads(549768)},
	lookup => q{SELECT count(*) FROM smartlead_get_campaign(549768)},
	action => q{SELECT smartlead_pause_lead(549768, 3499513771)});

# The fault, for ever, and the outcome of a listing, a lookup and an action.
my @cases = (
	[ { kind => 'drop' }, 'SL503', 'SL503', 'SL503' ],
	[ { kind => 'drop_mid_body' }, 'SL503', 'SL503', 'SL503' ],
	[ { kind => 'truncated_json' }, 'SL502', 'SL502', 't' ],
	[ { kind => 'invalid_json' }, 'SL502', 'SL502', 't' ],
	[ { kind => 'html', status => 502 }, 'SL503', 'SL503', 'SL503' ],
	[ { kind => 'html', status => 200 }, 'SL502', 'SL502', 'SL502' ],
	[ { kind => 'html', status => 403 }, 'SL403', 'SL403', 'SL403' ],
	[ { kind => 'html', status => 404 }, 'SL404', 'SL404', 'SL404' ],
	[ { kind => 'empty' }, 'SL502', '0', 't' ],
	[ { kind => 'huge', bytes => 20_000_000 }, 'SL502', 'SL502', 'SL502' ],
	[ { kind => 'drip', delay_ms => 300 }, 'SL408', 'SL408', 'SL408' ],
	[ { kind => 'hang' }, 'SL408', 'SL408', 'SL408' ],
	[ { kind => 'deep' }, 'SL502', 'SL502', 't' ],
	[ { kind => 'nul' }, 'SL502', 'SL502', 't' ],
	[ { kind => 'bad_utf8' }, 'SL502', 'SL502', 't' ],
	[ { kind => 'redirect' }, 'SL502', 'SL502', 'SL502' ],
	[ { kind => 'ok_false' }, 'SL409', 'SL409', 'SL409' ],
	[ { kind => 'success_false' }, 'SL409', 'SL409', 'SL409' ],
	[ { kind => 'status', status => 500 }, 'SL503', 'SL503', 'SL503' ],
	[ { kind => 'status', status => 503 }, 'SL503', 'SL503', 'SL503' ],
	[ { kind => 'status', status => 400 }, 'SL400', 'SL400', 'SL400' ],
	[ { kind => 'status', status => 401 }, 'SL401', 'SL401', 'SL401' ],
	[ { kind => 'status', status => 429, headers => { 'Retry-After' => '1' } }, 'SL429', 'SL429', 'SL429' ]);
foreach my $case (@cases)
{
	my ($fault, @expected) = @$case;
	my $name = join ' ', grep { defined } @{$fault}{qw(kind status)};
	foreach my $kind (qw(listing lookup action))
	{
		sandbox_post('/_sandbox/reset');
		sandbox_post('/_sandbox/fault', { %$fault, times => -1 });
		is(outcome($call{$kind}), shift @expected, "$name: $kind");
	}
}
sandbox_post('/_sandbox/reset');
is(outcome($call{$_}), $_ eq 'listing' ? 5 : $_ eq 'lookup' ? 1 : 't', "well again: $_") for sort keys %call;

# A passing fault is no fault.
foreach my $fault ({ kind => 'drop' }, { kind => 'drop_mid_body' }, { kind => 'empty' }, { kind => 'status', status => 502 })
{
	sandbox_post('/_sandbox/reset');
	sandbox_post('/_sandbox/fault', $fault);
	is(outcome($call{listing}), 5, "$fault->{kind} once");
}

# A listing that fails in its midst leaves nothing behind.
$node->safe_psql('postgres', 'CREATE TABLE got AS SELECT * FROM smartlead_list_leads(549768) LIMIT 0');
sandbox_post('/_sandbox/reset');
sandbox_post('/_sandbox/fault', { kind => 'status', status => 400, skip => 50, path => '/campaigns/600001/leads' });
is(outcome('INSERT INTO got SELECT * FROM smartlead_list_leads(600001)'), 'SL400', 'the fiftieth page fails');
is($node->safe_psql('postgres', 'SELECT count(*) FROM got'), 0, 'and no row is there');
sandbox_post('/_sandbox/fault', { kind => 'drop_mid_body', times => 2, skip => 20, path => '/campaigns/600001/leads' });
is(outcome('SELECT count(*) FROM smartlead_list_leads(600001)'), 10000, 'two broken pages are fetched again');

# Ten thousand calls, half of them in error, in one session: it stays as large as it was.
sandbox_post('/_sandbox/reset');
my $resident = q{SELECT substring(pg_read_file('/proc/self/status') FROM 'VmRSS:\s+(\d+)')::int};
my $grown = $node->safe_psql(
	'postgres', qq{
	CREATE FUNCTION calls(n int) RETURNS void LANGUAGE plpgsql AS \$\$
	BEGIN
		FOR i IN 1 .. n LOOP
			BEGIN
				PERFORM smartlead_pause_lead(549768, CASE i % 2 WHEN 0 THEN 3499513771 ELSE 1 END);
			EXCEPTION WHEN SQLSTATE 'SL404' THEN NULL;
			END;
		END LOOP;
	END \$\$;
	SELECT calls(1000) \\gset
	SELECT ($resident) AS before \\gset
	SELECT calls(10000) \\gset
	SELECT ($resident) - :before;});
cmp_ok($grown, '<', 4096, "10,000 calls grow the backend by less than 4 MB ($grown kB)");

done_testing();
