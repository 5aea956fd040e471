# Who may do what, and that keys and passwords come out nowhere.
use strict;
use warnings;

use MIME::Base64;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SmartleadSession;
use SmartleadTest;
use Test::More;

my $get = 'SELECT name FROM smartlead_get_campaign(549768)';
my $beta = 'SELECT name FROM smartlead_get_campaign(810001)';
my $keys = qr/sandbox-key-\w+/;

my $node = smartlead_node(
	'main',
	extension => 0,
	conf => <<'CONF');
log_min_messages = debug1
log_min_error_statement = panic
log_error_verbosity = verbose
client_min_messages = debug1
CONF
start_sandbox();
my $url = sandbox_url();

# Statements that hold a key are the user's own text: they are not to be logged.
$node->append_conf('postgresql.conf', 'log_statement = none');
$node->reload;
my $admin = SmartleadSession->new($node);
$admin->query("SET log_statement = 'none'");
for my $sql (
	'CREATE EXTENSION smartlead',
	"CREATE SERVER sandbox FOREIGN DATA WRAPPER smartlead OPTIONS (base_url '$url', rate_limit 'none', max_retries '1')",
	"CREATE SERVER shared FOREIGN DATA WRAPPER smartlead OPTIONS (base_url '$url', rate_limit 'none')",
	q{CREATE USER MAPPING FOR CURRENT_USER SERVER sandbox OPTIONS (api_key 'sandbox-key-alpha')},
	q{CREATE USER MAPPING FOR PUBLIC SERVER shared OPTIONS (api_key 'sandbox-key-beta')},
	'CREATE ROLE stranger LOGIN',
	map { "CREATE ROLE $_ LOGIN IN ROLE smartlead_user" } qw(alice bob carol))
{
	is($admin->sqlstate($sql), '00000', $sql =~ s/ OPTIONS.*//r);
}
my %as = map { $_ => SmartleadSession->new($node, user => $_) } qw(stranger alice bob carol);

# ---- who may call ----

is($as{stranger}->sqlstate($get), '42501', 'a role without smartlead_user may not call');
is($as{alice}->sqlstate(qq{SELECT smartlead_get_campaign(1, connection => 'sandbox')}),
	'42501', 'a role without USAGE may not use a connection');
is($as{alice}->sqlstate($get), '08003', 'and has none that it could use without naming it')
  or diag(($as{alice}->query($get))[1]);

$admin->query('GRANT USAGE ON FOREIGN SERVER sandbox TO alice, bob');
$admin->query('GRANT USAGE ON FOREIGN SERVER shared TO carol');
my ($out, $err) = $as{alice}->query($get);
like($err, qr/role "alice" has no API key for connection "sandbox"/, 'USAGE alone gives no key');
is($as{alice}->sqlstate($get), '42704', 'of its class');
is($as{carol}->query($beta), 'Beta launch', 'a mapping for PUBLIC serves whoever has USAGE')
  or diag(($as{carol}->query($beta))[1]);
$admin->query(
	q{CREATE USER MAPPING FOR alice SERVER sandbox OPTIONS (api_key 'sandbox-key-alpha')});
$admin->query(
	q{CREATE USER MAPPING FOR bob SERVER sandbox OPTIONS (api_key 'sandbox-key-beta')});
is($as{alice}->query($get), 'Spring dentists', 'a mapping of its own serves a role');
is($as{bob}->query($get), '', 'each role with its own key');
is($as{bob}->query($beta), scalar $as{carol}->query($beta), 'in its own workspace');
is($as{alice}->sqlstate(q{SELECT smartlead_request('GET', '/campaigns')}),
	'42501', 'smartlead_request is for administrators');
is($as{alice}->sqlstate('SELECT smartlead_stat_reset()'),
	'42501', 'so is resetting the statistics');
is( $as{alice}->sqlstate(
		"CREATE SERVER mine FOREIGN DATA WRAPPER smartlead OPTIONS (base_url '$url')"),
	'42501',
	'nobody makes a connection without USAGE on the wrapper');

# A role that acts for another uses the other's key, and no longer than it does.
is($admin->query("SET ROLE bob;\n$beta;\nRESET ROLE"),
	scalar $as{carol}->query($beta), 'SET ROLE takes that role\'s key');
$admin->query("CREATE FUNCTION of_bob() RETURNS text LANGUAGE sql SECURITY DEFINER AS '$beta';\n"
	  . 'ALTER FUNCTION of_bob OWNER TO bob');
is($as{alice}->query('SELECT of_bob()'),
	scalar $as{carol}->query($beta), 'a SECURITY DEFINER function uses its owner\'s');
is($as{alice}->query($get), 'Spring dentists', 'the caller\'s is in force again afterwards');
$admin->query('REVOKE USAGE ON FOREIGN SERVER sandbox FROM bob');
is($as{bob}->sqlstate("SELECT smartlead_get_campaign(1, connection => 'sandbox')"),
	'42501', 'a revoked USAGE counts at once');

# ---- no key, anywhere ----

# Whatever a role can read of the catalog, the activity and the statistics.
sub all_that_is_readable
{
	my ($session) = @_;
	return join "\n", map { join "\n", $session->query($_) } (
		'SELECT * FROM pg_user_mappings',
		'SELECT * FROM pg_foreign_server',
		'SELECT * FROM information_schema.user_mapping_options',
		'SELECT * FROM pg_stat_activity',
		'SELECT * FROM smartlead_stat_requests',
		'SELECT * FROM smartlead_request_counters()',
		q{SELECT * FROM pg_settings WHERE name LIKE 'smartlead%'},
		'SELECT * FROM pg_stat_statements',
		'SELECT * FROM smartlead_ping()',
		q{SELECT * FROM smartlead_ping('shared')});
}
unlike(all_that_is_readable($as{$_}), $keys, "$_ reads no key")
  for qw(stranger bob carol);
like($admin->query('SELECT * FROM pg_user_mappings'),
	$keys, 'as the superuser does, so that the test sees keys at all');

# Errors, when the service repeats the key in its own.
my @calls = (
	'SELECT * FROM smartlead_list_campaigns()',
	'SELECT * FROM smartlead_get_campaign(549768)',
	'SELECT * FROM smartlead_get_lead(1)',
	'SELECT smartlead_pause_lead(1, 2)',
	q{SELECT smartlead_create_campaign('')},
	'SELECT * FROM smartlead_list_leads(999)',
	'SELECT * FROM smartlead_ping()');
my @faults = (
	undef,
	(map { { kind => 'status', status => $_, body => '{"error":"key sandbox-key-alpha: no"}' } }
		  400, 401, 403, 404, 429, 500),
	{ kind => 'status', status => 400, content_type => 'text/html',
		body => '<pre>Cannot GET /api/v1/x?api_key=sandbox-key-alpha</pre>' },
	{ kind => 'status', status => 302, headers => { Location => 'http://127.0.0.1/?api_key=sandbox-key-alpha' } },
	map { { kind => $_ } } qw(drop drop_mid_body truncated_json html empty));
$admin->query('SET smartlead.connection = sandbox');
$admin->query(q{ALTER SERVER sandbox OPTIONS (SET max_retries '0')});
my $shown = '';
for my $fault (@faults)
{
	sandbox_post('/_sandbox/reset');
	sandbox_post('/_sandbox/config', { echo_key => \1 });
	sandbox_post('/_sandbox/fault', { times => -1, %$fault }) if $fault;
	$shown .= join "\n", map { "$_:\n" . join "\n", $admin->query("\\set VERBOSITY verbose\n$_") } @calls;
}
like($shown, qr/\*\*\*/, 'the service repeats the key, and it is struck out');
unlike($shown, $keys, 'no error shows a key');

# Nor in the form that it has in a URL.
$admin->query(q{CREATE SERVER odd FOREIGN DATA WRAPPER smartlead OPTIONS (base_url '} . $url . q{');
	CREATE USER MAPPING FOR CURRENT_USER SERVER odd OPTIONS (api_key 'odd/key+&=%')});
sandbox_post('/_sandbox/fault',
	{ kind => 'status', status => 400, before_auth => \1,
		body => 'odd/key+&=% and odd%2Fkey%2B%26%3D%25, it said' });
like((join "\n", $admin->query(q{SELECT * FROM smartlead_get_campaign(1, connection => 'odd')})),
	qr/Smartlead said: \*\*\* and \*\*\*, it said/, 'URL-encoded neither');

# A connection that fails says where to, without the address's query.
my $nobody = free_port();
$admin->query(
	"ALTER SERVER sandbox OPTIONS (SET base_url 'http://127.0.0.1:$nobody/api/v1')");
unlike(join("\n", $admin->query("\\set VERBOSITY verbose\n$get")),
	$keys, 'nor does the error of a connection that is refused');
$admin->query("ALTER SERVER sandbox OPTIONS (SET base_url '$url')");

# What the validator refuses may be a key that was put into the wrong place.
for my $sql (
	q{CREATE SERVER wrong FOREIGN DATA WRAPPER smartlead OPTIONS (api_key 'sandbox-key-wrong')},
	q{ALTER USER MAPPING FOR alice SERVER sandbox OPTIONS (SET api_key 'sandbox-key-wrong with blanks')},
	q{ALTER SERVER sandbox OPTIONS (SET base_url 'https://x.example/?api_key=sandbox-key-wrong')},
	q{ALTER SERVER sandbox OPTIONS (SET rate_limit 'sandbox-key-wrong')})
{
	my (undef, $error) = $admin->query("SET client_min_messages = error;\n$sql;\nRESET client_min_messages");
	like($error, qr/ERROR/, 'refused: ' . ($sql =~ /OPTIONS \((\w+ ?\w+)/)[0]);
	unlike($error =~ s/^LINE .*\n.*//mr, $keys, 'without repeating the value');
}

# A request under way, as others see it.
sandbox_post('/_sandbox/reset');
sandbox_post('/_sandbox/fault', { kind => 'hang' });
$as{alice}->start_sqlstate($get);
ok(wait_until(sub { @{ sandbox_get('/_sandbox/log') } == 1 }, 'the request'), 'a call is under way');
unlike($admin->query('SELECT * FROM pg_stat_activity'), $keys, 'pg_stat_activity shows no key');
unlike(slurp_file('/proc/' . $as{alice}->pid . '/cmdline'), $keys, 'nor does the process list')
  if -r '/proc/self/cmdline';
$admin->query('SELECT pg_cancel_backend(' . $as{alice}->pid . ')');
is($as{alice}->finish_sqlstate, '57014', 'it is cancelled');

# ---- no password, anywhere ----

sandbox_post('/_sandbox/reset');
my @accounts = (
	'SELECT * FROM smartlead_list_email_accounts(fetch_campaigns => true)',
	'SELECT * FROM smartlead_get_email_account(2907, fetch_campaigns => true)',
	'SELECT * FROM smartlead_list_campaign_email_accounts(549768, include_tags => true)',
	map { "SELECT smartlead_request('GET', '$_')" } (
		'/email-accounts', '/email-accounts/', '/email-accounts/2907', '/email-accounts/2907/',
		'/campaigns/549768/email-accounts', '/campaigns/549768/email-accounts/',
		'/EMAIL-ACCOUNTS/', '//email-accounts/', '/email%2Daccounts/', '/%65mail-account%73/', '/x/../email-accounts/',
		'/email-accounts/?limit=1', '/campaigns/../email-accounts/'));
my @passwords = map { ("s3cret-$_", substr(encode_base64("s3cret-$_", ''), 0, 8)) } qw(smtp- imap-);
my $passwords = join '|', map { quotemeta } 's3cret', @passwords;
my %direct = map { $_ => http_request('GET', "$url/email-accounts/$_?api_key=sandbox-key-alpha")->{content} }
  ('', '2907/');
like($_, qr/$passwords/, 'the service sends passwords') for values %direct;

# The service may know its routes in any case.
sandbox_post('/_sandbox/fault', { kind => 'wrong_type', path => '/EMAIL-ACCOUNTS', times => -1,
		body => '[{"id":1,"from_email":"a@b.example","smtp_password":"s3cret-smtp-1"}]' });
my $seen = 0;
for my $envelope (qw(array data success))
{
	sandbox_post('/_sandbox/config', { list_envelope => $envelope });
	for my $sql (@accounts)
	{
		my $text = join "\n", $admin->query($sql);
		$seen++ if $text =~ /\@/;
		unlike($text, qr/$passwords/, "$envelope: no password from $sql");
	}
}
cmp_ok($seen, '>=', 20, 'accounts were shown');
for my $body ('{"error":{"smtp_password":"s3cret-smtp-1"},"message":"no"}',
	'[{"id":"x","smtp_password":"s3cret-smtp-1"}]',
	'{"ok":false,"smtp_password":"s3cret-smtp-1"}',
	'{"id":1,"smtp_password":"s3cret-smtp-1","message_per_day":"s"}')
{
	for my $status (200, 400)
	{
		sandbox_post('/_sandbox/reset');
		sandbox_post('/_sandbox/fault',
			{ kind => 'status', status => $status, body => $body, times => -1 });
		unlike(join("\n", map { $admin->query($_) } @accounts[ 0 .. 4 ]),
			qr/$passwords/, "status $status: no password in an error");
	}
}

# ---- the whole log of the server ----

my $log = slurp_file($node->logfile);
like($log, qr/DEBUG/, 'the log tells much');
like($log, qr/SL401/, 'errors as well');
unlike($log, qr/sandbox-key-(?!wrong)/, 'but no key');
unlike($log, qr/$passwords/, 'and no password');

# ---- what the extension brings ----

is( $admin->query(
		q{SELECT string_agg(p.oid::regprocedure::text, ', ') FROM pg_proc p
		JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
		JOIN pg_extension e ON d.refobjid = e.oid AND e.extname = 'smartlead'
		WHERE p.proname <> 'smartlead_fdw_validator'
		AND has_function_privilege('stranger', p.oid, 'EXECUTE')}),
	'',
	'no function is for everybody');
is( $admin->query(
		q{SELECT string_agg(c.oid::regclass::text, ', ') FROM pg_class c
		JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
		JOIN pg_extension e ON d.refobjid = e.oid AND e.extname = 'smartlead'
		WHERE c.relkind IN ('r', 'v', 'm', 'p', 'f')
		AND has_table_privilege('stranger', c.oid, 'SELECT, INSERT, UPDATE, DELETE')}),
	'',
	'no table or view either');
is( $admin->query(
		q{SELECT string_agg(pg_describe_object(d.classid, d.objid, 0), ', ') FROM pg_depend d
		JOIN pg_extension e ON d.refobjid = e.oid AND e.extname = 'smartlead'
		WHERE d.deptype = 'e' AND d.refclassid = 'pg_extension'::regclass
		AND d.classid IN ('pg_proc'::regclass, 'pg_class'::regclass, 'pg_type'::regclass,
			'pg_foreign_data_wrapper'::regclass)
		AND NOT (d.classid = 'pg_class'::regclass AND
			(SELECT relkind IN ('i', 'S', 'c') FROM pg_class WHERE oid = d.objid))
		AND NOT (d.classid = 'pg_type'::regclass AND
			(SELECT typtype <> 'c' OR EXISTS (SELECT FROM pg_class c WHERE c.oid = typrelid
				AND c.relkind <> 'c') FROM pg_type WHERE oid = d.objid))
		AND NOT EXISTS (SELECT FROM pg_description c
			WHERE c.classoid = d.classid AND c.objoid = d.objid AND c.objsubid = 0
			AND length(c.description) > 10)}),
	'',
	'every object has a comment');

# ---- dump and restore ----

my $dump = $PostgreSQL::Test::Utils::tmp_check . '/dump.sql';
$node->safe_psql('postgres', 'CREATE DATABASE copy TEMPLATE template0');
$node->command_ok([ 'pg_dump', '-f', $dump, $node->connstr('postgres') ], 'pg_dump');
$node->command_ok(
	[ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', $dump, $node->connstr('copy') ],
	'the dump is restored');
sandbox_post('/_sandbox/reset');
my $copy = SmartleadSession->new($node, database => 'copy');
$copy->query('SET smartlead.connection = sandbox');
is($copy->query($get), 'Spring dentists', 'its connections work');
my $copied = SmartleadSession->new($node, database => 'copy', user => 'alice');
is($copied->query($get), 'Spring dentists', 'with the privileges that were granted');
is($copy->sqlstate('DROP EXTENSION smartlead CASCADE'), '00000', 'the extension can be dropped');
is($copy->sqlstate('CREATE EXTENSION smartlead'), '00000', 'and made again');

done_testing();
