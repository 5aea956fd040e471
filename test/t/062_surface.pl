# The SQL functions say what the endpoint table says, and none of them can be called by mistake for
# another.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SmartleadTest;
use Test::More;

my $node = smartlead_node('main');

# All functions of the extension.
$node->safe_psql('postgres', q{
	CREATE VIEW ours AS
	SELECT p.*, p.oid::regprocedure::text AS signature FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid
		AND d.deptype = 'e' JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND e.extname = 'smartlead'});

sub is_nothing
{
	my ($sql, $what) = @_;
	return is($node->safe_psql('postgres', $sql), '', $what);
}

is_nothing(q{
	SELECT p.signature, q.signature FROM ours p JOIN ours q ON p.proname = q.proname AND p.oid < q.oid,
		generate_series(0, least(p.pronargs, q.pronargs) - 1) AS i
	WHERE (p.proargtypes[i] = 'name'::regtype) <> (q.proargtypes[i] = 'name'::regtype)},
	'C5: no argument is an id in one function and a connection in its namesake');


# ---- what calls out is called last ----

# Those that take a connection, but for those that only write it down; and those that wait for an answer.
my $calling = q{(EXISTS (SELECT FROM unnest(p.proargnames[:p.pronargs]) WITH ORDINALITY AS a (name, i) WHERE a.name = 'connection' AND p.proargtypes[i - 1] = 'name'::regtype)
		OR p.proname IN ('smartlead_rotate_webhook', 'smartlead_unsubscribe_webhook', 'smartlead_wait'))
	AND p.proname NOT IN ('smartlead_enqueue', 'smartlead_automate', 'smartlead_webhook_url', 'smartlead_resume_connection')};
is_nothing("SELECT signature FROM ours p WHERE $calling AND procost < 100000",
	'C6: every function that calls out has a high cost');
cmp_ok($node->safe_psql('postgres', "SELECT count(*) FROM ours p WHERE $calling"), '>=', 27, 'C6: these are all of them');
$node->safe_psql('postgres', q{
	CREATE FUNCTION my_filter(bigint) RETURNS boolean LANGUAGE plpgsql COST 10000 AS 'BEGIN RETURN $1 = 3499513771; END'});
sandbox_post('/_sandbox/reset');
is($node->safe_psql('postgres', q{
	SELECT id FROM unnest(ARRAY[3499513771, 3499513772, 3499513773]) AS id WHERE smartlead_pause_lead(549768, id) AND my_filter(id)}),
	'3499513771', 'C6: a filter goes before a call');
is(scalar @{ sandbox_get('/_sandbox/log') }, 1, 'C6: which is made for what passes alone');

# ---- the functions and the table ----

# Each function that stands for a row of the endpoint table, with what it declares: arguments that
# are the row's, and whether they may be left out.
$node->safe_psql('postgres', q{
	CREATE VIEW declared AS
	SELECT p.*, substr(proname, 11) AS name, prosrc AS symbol,
		(SELECT coalesce(array_agg(n.name ORDER BY i), '{}') FROM unnest(p.proargnames[:pronargs]) WITH ORDINALITY AS n (name, i) WHERE n.name NOT IN ('connection', 'max_rows')) AS arguments,
		(SELECT coalesce(array_agg(format_type(t.oid, NULL) ORDER BY i), '{}') FROM unnest(p.proargtypes) WITH ORDINALITY AS t (oid, i)
			WHERE p.proargnames[t.i] NOT IN ('connection', 'max_rows')) AS types,
		(SELECT coalesce(array_agg(t.i <= p.pronargs - p.pronargdefaults ORDER BY i), '{}') FROM unnest(p.proargtypes) WITH ORDINALITY AS t (oid, i)
			WHERE p.proargnames[t.i] NOT IN ('connection', 'max_rows')) AS required,
		obj_description(p.oid, 'pg_proc') AS comment
	FROM ours p WHERE prosrc IN ('smartlead_action', 'smartlead_answer', 'smartlead_lookup', 'smartlead_listing', 'smartlead_create_campaign');
	CREATE VIEW matched AS
	SELECT d.*, e.kind, e.method, e.path, e.required AS demanded, e.internal, e.administrators FROM declared d LEFT JOIN smartlead_endpoints() e
		ON e.name = d.name AND e.arguments = d.arguments AND e.types = d.types});

is_nothing('SELECT signature FROM matched WHERE kind IS NULL', 'D6: every function has a row with its arguments, in their order, of their types');
is_nothing('SELECT signature FROM matched GROUP BY oid, signature HAVING count(*) > 1', 'D6: and no more than one');
is_nothing('SELECT signature FROM matched WHERE internal', 'D6: which is no internal one');
is_nothing(q{SELECT e.name, e.arguments FROM smartlead_endpoints() e WHERE NOT internal
	AND NOT EXISTS (SELECT FROM declared d WHERE e.name = d.name AND e.arguments = d.arguments)}, 'D6: every other row has a function');
is_nothing('SELECT signature, required, demanded FROM matched WHERE required <> demanded', 'D6: what is required has no default, the rest has one');
is_nothing(q{SELECT signature FROM matched WHERE symbol <> 'smartlead_' || CASE WHEN name = 'create_campaign' THEN name WHEN prorettype = 'jsonb'::regtype THEN 'answer' ELSE kind END}, 'D6: each calls what its kind says');
is_nothing(q{SELECT signature FROM matched WHERE symbol <> 'smartlead_answer' AND (kind = 'action') = proretset OR (symbol <> 'smartlead_answer' AND kind <> 'action' AND prorettype NOT IN (SELECT oid FROM pg_type WHERE typtype = 'c'))
	OR (symbol = 'smartlead_action' AND prorettype NOT IN ('boolean'::regtype, 'bigint'::regtype))}, 'D6: returns it: rows, or whether it was done');
is_nothing(q{SELECT signature FROM matched WHERE (kind = 'listing') <> (proargnames[pronargs - 1] = 'max_rows') AND proname NOT IN ('smartlead_list_lead_categories', 'smartlead_list_lead_campaigns')},
	'D6: listings take max_rows');
is_nothing(q{SELECT signature FROM matched WHERE proargnames[pronargs] <> 'connection' OR pg_get_function_arguments(oid) !~ 'connection name DEFAULT NULL::name$'},
	'D6: the last argument is the connection');
is_nothing(q{SELECT signature FROM matched WHERE provolatile <> 'v' OR proparallel <> 'r' OR proisstrict OR prosecdef OR procost < 100000}, 'D6: volatile, parallel restricted, not strict, dear');
is_nothing(q{SELECT signature FROM matched WHERE comment IS NULL OR position(method || ' ' || path IN comment) = 0}, 'D6: the comment tells method and path');
is_nothing(q{SELECT signature FROM matched WHERE has_function_privilege('public', oid, 'EXECUTE')
	OR NOT has_function_privilege(CASE WHEN administrators THEN 'smartlead_admin' ELSE 'smartlead_user' END, oid, 'EXECUTE')
	OR (administrators AND has_function_privilege('smartlead_user', oid, 'EXECUTE'))},
	'D6: smartlead_user may call it, or smartlead_admin alone, others not');
is_nothing(q{SELECT name, arguments, method FROM smartlead_endpoints() WHERE (method = 'GET' AND NOT repeatable) OR (kind <> 'action') <> (method = 'GET')}, 'D6: what reads is repeatable');
is($node->safe_psql('postgres', q{SELECT string_agg(name, ', ' ORDER BY name) FROM smartlead_endpoints() WHERE NOT repeatable AND NOT internal}), 'create_campaign, order_sender_mailboxes, save_campaign_sequences',
	'T10: what must not be done twice');

is_nothing(q{SELECT name FROM smartlead_endpoints WHERE known_from IS NULL OR NOT known_from <@ '{documentation,reference,cli,mcp,clients}' OR known_from = '{}'}, 'D7: of each it is told where it is known from');
is_nothing(q{SELECT name FROM smartlead_endpoints WHERE costs IS NOT NULL AND (repeatable OR NOT administrators)}, 'D7: what costs is for administrators, and never repeated');
is_nothing(q{SELECT f.name, v.name FROM smartlead_endpoints() f FULL JOIN smartlead_endpoints v USING (name, arguments, types, path, method, internal) WHERE f.name IS NULL OR v.name IS NULL}, 'D7: the view shows all of it');

# docs/endpoints.md, as rows: what a function asks and takes.
my @documented;
my $page = slurp_file('docs/endpoints.md');
while ($page =~ /^### smartlead_(\w+)\n\n`(\w+ \S+)` → ([^\n]*)\n(.*?)(?=^##|\z)/msg)
{
	my ($name, $route, $result, $text) = ($1, $2, $3, $4);
	my @arguments = map { s/timestamptz/timestamp with time zone/r } $text =~ /^\| `(\w+` \| [^|]+) \|/mg;
	push @documented, join ' ', $name, $route, $result, map { s/` \|//r } @arguments;
}
is(join("\n", sort @documented), join("\n", sort split /\n/, $node->safe_psql('postgres', q{
	SELECT concat_ws(' ', name, method, path,
		CASE WHEN prorettype = 'jsonb'::regtype THEN NULL WHEN kind = 'lookup' THEN 'one row or none of' WHEN kind = 'listing' THEN 'rows of' END,
		CASE WHEN typtype = 'c' THEN '`' || typname || '`' ELSE format_type(prorettype, NULL) END,
		(SELECT string_agg(a.name || ' ' || a.type || CASE WHEN a.required THEN ', required' ELSE '' END, ' ' ORDER BY i) FROM unnest(arguments, types, required) WITH ORDINALITY AS a (name, type, required, i)))
	FROM matched JOIN pg_type t ON t.oid = prorettype})), 'D7: endpoints.md says the same');

# ---- e-mail accounts: tags, warmup ----

sub last_request
{
	return sandbox_get('/_sandbox/log')->[-1];
}

sandbox_post('/_sandbox/fault', { kind => 'status', status => 200, path => '/email-accounts/2907', body => '{"id":2907,"tags":[{"tag_id":7,"tag_name":"dach"}]}' });
is($node->safe_psql('postgres', q{SELECT tags->0->>'tag_name' FROM smartlead_get_email_account(2907, fetch_tags => true)}), 'dach', 'T10: the tags of an account');
like(last_request()->{query}, qr/fetch_tags=true/, 'T10: come as they are asked for');
sandbox_post('/_sandbox/fault', { kind => 'status', status => 200, path => '*/email-accounts', body => '{"ok":true}' });
is($node->safe_psql('postgres', q{SELECT smartlead_add_campaign_email_accounts(549768, '{2909}', auto_adjust_warmup => true)}), 't', 'T10: warmup is adjusted');
is(last_request()->{body}, '{"email_account_ids":[2909],"auto_adjust_warmup":true}', 'T10: when that is asked for');
sandbox_post('/_sandbox/reset');
sandbox_post('/_sandbox/fault', { kind => 'process_then_drop', method => 'POST', path => '*/email-accounts' });
is($node->safe_psql('postgres', q{SELECT smartlead_add_campaign_email_accounts(549768, '{2909}')}), 't', 'T10: adding is repeated when the connection breaks');
is(scalar @{ sandbox_get('/_sandbox/log') }, 2, 'T10: once');

# ---- what is not asked for is not sent ----

sandbox_post('/_sandbox/reset');
my (undef, undef, $error) = $node->psql('postgres', q{SELECT smartlead_remove_campaign_email_accounts(549768, '{}')});
like($error, qr/argument "email_account_ids" of "remove_campaign_email_accounts" must not be empty/, 'C13: an empty list is refused');
(undef, undef, $error) = $node->psql('postgres', q{SELECT smartlead_add_campaign_email_accounts(549768, '{}')});
like($error, qr/must not be empty/, 'C13: by its like, too');
is(scalar @{ sandbox_get('/_sandbox/log') }, 0, 'C13: and not sent');
sandbox_post('/_sandbox/fault', { kind => 'status', status => 400, method => 'POST',
	body => '{"statusCode":400,"error":"Bad Request","message":"\"first_name\" is not allowed to be empty","validation":{"source":"body","keys":["first_name"]}}' });
(undef, undef, $error) = $node->psql('postgres', q{SELECT smartlead_update_lead(549768, 3499513771, email => 'ada@clinic.example', first_name => '')});
like($error, qr/"first_name" is not allowed to be empty/, 'T11: what Smartlead says of an empty text is passed on');
like(last_request()->{body}, qr/"first_name":""/, 'T11: to which it was sent as it is');

done_testing();
