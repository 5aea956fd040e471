\set ECHO none
\i test/sql/include/connect.sql
\set ECHO all
SELECT smartlead_block_domain('rival.example');
SELECT smartlead_block_domain('rival.example');
SELECT smartlead_block_domain('spam@shop.example', client_id => 6);
SELECT smartlead_block_domains(ARRAY['one.example', 'two.example', 'rival.example']);
-- More than fit into one request.
SELECT smartlead_block_domains(array_agg('d' || n || '.example')) FROM generate_series(1, 2500) AS n;
\set said `test/sandboxctl GET '/_sandbox/log?path=/leads/add-domain-block-list'`
SELECT count(*) AS requests FROM jsonb_array_elements(:'said');
SELECT entry->>'email_or_domain' AS entry, entry->>'client_id' AS client
FROM jsonb_array_elements(smartlead_request('GET', '/leads/get-domain-block-list', '{"limit": 5}')) AS entry;
-- Smartlead doesn't always say how many.
\set said `test/sandboxctl POST /_sandbox/config '{"write_form": "d"}'`
SELECT smartlead_block_domain('three.example') IS NULL AS not_told;
SELECT smartlead_block_domain('nonsense');
\echo :LAST_ERROR_SQLSTATE
SELECT smartlead_block_domain(NULL);
SELECT smartlead_block_domain('');
SELECT smartlead_block_domains(NULL);
SELECT smartlead_block_domains(ARRAY['x.example', NULL]);
SELECT smartlead_block_domains('{}');
-- C5: what is neither a domain nor an address is refused, alone and among others.
SELECT smartlead_block_domain('{}');
\echo :LAST_ERROR_SQLSTATE
SELECT smartlead_block_domains('{fine.example,no domain}');
CREATE FUNCTION blocked(entry text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM smartlead_block_domain(entry);
	RETURN 'blocked';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE;
END $$;
SELECT left(entry, 30) AS entry, blocked(entry) FROM unnest(ARRAY['sub.rival.example', 'RIVAL.Example', 'rooted.example.', 'xn--mnchen-3ya.example', '4you.example',
	'1.2.3.example', 'a-b.example', 'first.last+tag@shop.example', 'o''neil@shop.example', repeat('x', 63) || '.example']) AS entry;
SELECT blocked(U&'m\00FCnchen.example') AS umlaut, blocked(U&'\4F8B\3048.\30C6\30B9\30C8') AS kana, blocked(U&'j\00FCrgen@m\00FCnchen.example') AS address,
	blocked(U&'rival.example\200B') AS zero_width, blocked(U&'rival\3002example') AS other_dot, blocked(U&'rival.example\00A0') AS no_break_space;
SELECT left(entry, 30) AS entry, blocked(entry) FROM unnest(ARRAY['.', '..', '.example', 'rival..example', 'rival.example..', ' rival.example', 'rival.example ', 'rival .example', 'com',
	'-rival.example', 'rival-.example', 'ri_val.example', '*.rival.example', 'http://rival.example', 'rival.example/', 'rival.example:25', '10.0.0.1',
	'@rival.example', 'a@', 'a@rival', 'a@b@rival.example', '.a@rival.example', 'a..b@rival.example', 'a b@rival.example', 'Ann <a@rival.example>', 'a@10.0.0.1',
	'one.example,two.example', E'one.example\ntwo.example', '', repeat('x', 64) || '.example', repeat('abc.', 70) || 'example']) AS entry;
\set said `test/sandboxctl GET '/_sandbox/log?path=/leads/add-domain-block-list'`
SELECT entry->>'body' AS sent FROM jsonb_array_elements(:'said') AS entry WHERE entry->>'body' ~ 'rooted|fine';
BEGIN READ ONLY;
SELECT smartlead_block_domain('x.example');
ROLLBACK;
