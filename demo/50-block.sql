-- 5. Block a domain: no campaign sends to it any more. The result is the number of new entries.
SELECT smartlead_block_domain('competitor.example');
SELECT smartlead_block_domains(ARRAY['one.example', 'two.example']);
