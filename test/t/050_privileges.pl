# Nobody gets in: who may call, who sees a key, who sees a password.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SmartleadTest;
use Test::More;

my @keys = ('sandbox-key-alpha', 'sandbox-key-beta', 'sandbox-key-wrong');
my $node = smartlead_node('main', conf => "log_min_messages = debug1\nlog_min_error_statement = error\nlog_statement = none");
$node->safe_psql('postgres', 'CREATE ROLE alice LOGIN; CREATE ROLE bob LOGIN; CREATE ROLE carol LOGIN; GRANT smartlead_user TO alice, bob');

sub as
{
	my ($role, $sql) = @_;
	my ($code, $out, $err) = $node->psql('postgres', $sql, extra_params => [ '-U', $role ], on_error_die => 0);
	return $err =~ /ERROR:\s+(.*)/ ? $1 : $out;
}

# Who may call.
like(as('carol', 'SELECT * FROM smartlead_list_campaigns()'), qr/permission denied for function/, 'not everybody may call');
like(as('alice', 'SELECT * FROM smartlead_list_campaigns()'), qr/no Smartlead connection that you may use/, 'no connection without USAGE');
like(as('alice', q{SELECT * FROM smartlead_list_campaigns(connection => 'sandbox')}), qr/permission denied for foreign server sandbox/, 'nor by its name');
$node->safe_psql('postgres', 'GRANT USAGE ON FOREIGN SERVER sandbox TO alice, bob');
like(as('alice', 'SELECT * FROM smartlead_list_campaigns()'), qr/role "alice" has no API key for connection "sandbox"/, 'nor without a mapping');
$node->safe_psql('postgres', q{CREATE USER MAPPING FOR alice SERVER sandbox OPTIONS (api_key 'sandbox-key-beta')});
is(as('alice', 'SELECT name FROM smartlead_list_campaigns()'), 'Beta launch', 'with a key of her own');
$node->safe_psql('postgres', q{CREATE USER MAPPING FOR PUBLIC SERVER sandbox OPTIONS (api_key 'sandbox-key-alpha')});
is(as('bob', 'SELECT count(*) FROM smartlead_list_campaigns()'), 5, 'with the key of PUBLIC');
is(as('alice', 'SELECT name FROM smartlead_list_campaigns()'), 'Beta launch', 'her own goes first');
like(as('bob', q{SELECT smartlead_request('GET', '/campaigns/')}), qr/permission denied/, 'the escape hatch is for administrators');
like(as('bob', q{SELECT smartlead_stat_reset()}), qr/permission denied/, 'as is the reset of the statistics');
like(as('bob', q{CREATE SERVER mine FOREIGN DATA WRAPPER smartlead}), qr/permission denied/, 'and where requests go');

# Everything that the extension has is closed to PUBLIC, and has a comment.
is( $node->safe_psql('postgres', q{
	SELECT string_agg(p.oid::regprocedure::text, ', ') FROM pg_proc p
	JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
	JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'smartlead'
	WHERE has_function_privilege('carol', p.oid, 'EXECUTE') AND p.proname <> 'smartlead_fdw_validator'}),
	'', 'no function is open to PUBLIC');
is( $node->safe_psql('postgres', q{
	SELECT string_agg(c.oid::regclass::text, ', ') FROM pg_class c
	JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
	JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'smartlead'
	WHERE c.relkind IN ('r', 'v') AND has_table_privilege('carol', c.oid, 'SELECT, INSERT, UPDATE, DELETE')}),
	'', 'nor is a table or a view');
is( $node->safe_psql('postgres', q{
	SELECT string_agg(pg_describe_object(d.classid, d.objid, 0), ', ') FROM pg_depend d
	JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'smartlead' AND d.deptype = 'e'
	WHERE d.classid IN ('pg_proc'::regclass, 'pg_class'::regclass, 'pg_foreign_data_wrapper'::regclass)
	AND NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = d.objid AND d.classid = 'pg_class'::regclass AND c.relkind NOT IN ('r', 'v'))
	AND obj_description(d.objid, d.classid::regclass::name) IS NULL}),
	'', 'every function, table and view has a comment');
is( $node->safe_psql('postgres', q{SELECT count(*) FROM pg_proc WHERE prosecdef AND proname LIKE 'smartlead%' AND NOT coalesce(array_to_string(proconfig, ','), '') LIKE '%search_path%'}),
	0, 'no SECURITY DEFINER without a pinned search_path');

# What bob can look at while alice works.
sandbox_post('/_sandbox/config', { echo_key => JSON::PP::true() });
my @seen = map { as('bob', $_) } (
	'SELECT * FROM pg_user_mappings', 'SELECT * FROM pg_foreign_server', 'SELECT * FROM pg_stat_activity',
	'SELECT * FROM smartlead_stat_requests', 'SELECT * FROM smartlead_ping()', 'SELECT * FROM pg_settings',
	'SELECT smartlead_pause_lead(1, 1)', 'SELECT smartlead_delete_campaign(1)', 'SELECT * FROM pg_db_role_setting');
like($seen[6], qr/did not find/, 'an error that repeats the key comes');
$node->safe_psql('postgres', q{ALTER USER MAPPING FOR alice SERVER sandbox OPTIONS (SET api_key 'sandbox-key-wrong')});
push @seen, as('alice', 'SELECT * FROM smartlead_list_campaigns()');
like($seen[-1], qr/does not accept the API key/, 'a bad key is told, not shown');
my @details = map { (my @o = $node->psql('postgres', $_, extra_params => [ '-U', 'bob' ]))[2] } ('SELECT smartlead_pause_lead(1, 1)', 'SELECT smartlead_block_domain(\'x\')');
like($details[0], qr/\*\*\*/, 'it is struck out');
my $everything = join "\n", @seen[ 1 .. $#seen ], map { $_ // '' } @details;
unlike($everything, qr/\Q$_\E/, "no $_ in what others see") for @keys;
unlike($seen[0], qr/sandbox-key-(beta|wrong)/, q{nobody sees another's mapping});

# Faults at every stage, then the whole log: the tests' own statements are not in it.
foreach my $fault (qw(drop drop_mid_body truncated_json html redirect ok_false bad_utf8))
{
	sandbox_post('/_sandbox/fault', { kind => $fault, times => 6 });
	as('bob', 'SELECT * FROM smartlead_list_email_accounts()');
	sandbox_request('DELETE', '/_sandbox/fault');
}
sandbox_post('/_sandbox/reset');
$node->safe_psql('postgres', q{ALTER SERVER sandbox OPTIONS (SET base_url 'https://127.0.0.1:1/api/v1', ADD max_retries '0')});
as('bob', 'SELECT * FROM smartlead_list_campaigns()');
my $log = slurp_file($node->logfile);
unlike($log, qr/\Q$_\E/, "no $_ in the server's log") for @keys;
unlike($log, qr/api_key=[^*]/, 'nor any URL with a key');

# Passwords of mailboxes.
$node->safe_psql('postgres', q{ALTER SERVER sandbox OPTIONS (SET base_url '} . sandbox_url() . q{')});
my $accounts = join "\n", map { $node->safe_psql('postgres', $_) } (
	'SELECT a::text FROM smartlead_list_email_accounts() a', 'SELECT a::text FROM smartlead_get_email_account(2907) a',
	'SELECT a::text FROM smartlead_list_campaign_email_accounts(549768) a', q{SELECT smartlead_request('GET', '/email-accounts/')},
	q{SELECT smartlead_request('GET', '/email-accounts/2907/')}, q{SELECT smartlead_request('GET', '/campaigns/549768/email-accounts')});
like($accounts, qr/sam\@send\.example/, 'the accounts come');
unlike($accounts, qr/s3cret|czNjcmV0|password/i, 'their passwords do not');
unlike(slurp_file($node->logfile), qr/s3cret|czNjcmV0/, 'nor are they in the log');

done_testing();
