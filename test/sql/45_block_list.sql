\set ECHO none
\i test/sql/include/connect.sql
\set ECHO all
SELECT smartlead_block_domain('rival.example');
SELECT smartlead_block_domain('rival.example');
SELECT smartlead_block_domain('spam@shop.example', client_id => 6);
SELECT smartlead_block_domain(ARRAY['one.example', 'two.example', 'rival.example']);
-- More than fit into one request.
SELECT smartlead_block_domain(array_agg('d' || n || '.example')) FROM generate_series(1, 2500) AS n;
\set said `test/sandboxctl GET '/_sandbox/log?path=/leads/add-domain-block-list'`
SELECT count(*) AS requests FROM jsonb_array_elements(:'said');
SELECT entry->>'email_or_domain' AS entry, entry->>'client_id' AS client
FROM jsonb_array_elements(smartlead_request('GET', '/leads/get-domain-block-list', '{"limit": 5}')) AS entry;
-- Smartlead doesn't always say how many.
\set said `test/sandboxctl POST /_sandbox/config '{"write_form": "d"}'`
SELECT smartlead_block_domain('three.example') IS NULL AS not_told;
SELECT smartlead_block_domain('nonsense');
\echo :LAST_ERROR_SQLSTATE
SELECT smartlead_block_domain(NULL::text);
SELECT smartlead_block_domain('');
SELECT smartlead_block_domain(NULL::text[]);
SELECT smartlead_block_domain(ARRAY['x.example', NULL]);
SELECT smartlead_block_domain('{}'::text[]);
BEGIN READ ONLY;
SELECT smartlead_block_domain('x.example');
ROLLBACK;
