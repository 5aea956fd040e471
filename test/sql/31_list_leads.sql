\set ECHO none
\i test/sql/include/connect.sql
\set ECHO all
\x on
SELECT * FROM smartlead_list_leads(549768, max_rows => 1);
\x off
SELECT campaign_lead_map_id, lead_id, email, status, lead_category_id, phone_number, created_at AT TIME ZONE 'UTC' AS created, extra
FROM smartlead_list_leads(549768);

-- Every documented filter.
SELECT lead_id FROM smartlead_list_leads(549768, status => 'INPROGRESS');
SELECT lead_id FROM smartlead_list_leads(549768, lead_category_id => 3);
SELECT lead_id FROM smartlead_list_leads(549768, email_status => 'is_clicked');
SELECT lead_id FROM smartlead_list_leads(549768, created_after => '2026-03-03 07:00:02.5Z');
SELECT lead_id FROM smartlead_list_leads(549768, last_sent_after => '2026-03-04 10:30:00 +01:00');
SELECT lead_id FROM smartlead_list_leads(549768, event_after => '2026-03-05 00:00Z', status => 'COMPLETED');
\set said `test/sandboxctl GET '/_sandbox/log?path=/campaigns/549768/leads'`
SELECT entry->>'query' AS query FROM jsonb_array_elements(:'said') AS entry OFFSET 2;
SELECT lead_id FROM smartlead_list_leads(549768, status => 'ASLEEP');
SELECT lead_id FROM smartlead_list_leads(549768, created_after => 'infinity');
SELECT * FROM smartlead_list_leads(1);
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM smartlead_list_leads(NULL);

-- All pages, each row once, in order; and no more pages than are needed.
\set said `test/sandboxctl DELETE /_sandbox/log`
SELECT count(*), count(DISTINCT lead_id), min(lead_id), max(lead_id) FROM smartlead_list_leads(600001);
\set said `test/sandboxctl GET /_sandbox/counts`
SELECT (:'said'::json)->>'requests' AS requests, ((:'said'::json)->>'max_in_flight')::int <= 8 AS at_most_eight_at_once;
SELECT bool_and(ordered) FROM (SELECT lead_id > coalesce(lag(lead_id) OVER (), 0) AS ordered FROM smartlead_list_leads(600001)) AS l;
SELECT count(*) FROM smartlead_list_leads(600001, lead_category_id => 1);
\set said `test/sandboxctl DELETE /_sandbox/log`
SELECT count(*) FROM smartlead_list_leads(600001, max_rows => 250);
\set said `test/sandboxctl GET /_sandbox/counts`
SELECT (:'said'::json)->>'requests' AS requests;
SELECT count(*) FROM smartlead_list_leads(600001, max_rows => 100);
SELECT count(*) FROM smartlead_list_leads(600001, max_rows => 101);

-- The other documented forms: flat rows, totals as numbers, ids as text.
\set said `test/sandboxctl POST /_sandbox/config '{"lead_shape": "flat", "count_form": "number"}'`
SELECT campaign_lead_map_id, lead_id, email, status FROM smartlead_list_leads(549768, status => 'INPROGRESS');
SELECT count(*), count(DISTINCT lead_id) FROM smartlead_list_leads(600001);
\set said `test/sandboxctl POST /_sandbox/config '{"lead_shape": "live", "id_form": "text"}'`
SELECT campaign_lead_map_id, lead_id FROM smartlead_list_leads(549768, max_rows => 1);
SELECT count(*), count(DISTINCT lead_id) FROM smartlead_list_leads(600001);

-- Rows that move between pages.
\set said `test/sandboxctl POST /_sandbox/reset`
\set said `test/sandboxctl POST /_sandbox/config '{"shift": "insert"}'`
SELECT count(*) FILTER (WHERE lead_id < 3900000000) AS old, count(DISTINCT lead_id) FILTER (WHERE lead_id < 3900000000) AS distinct_old FROM smartlead_list_leads(600001);
\set said `test/sandboxctl POST /_sandbox/config '{"shift": "delete"}'`
SELECT count(DISTINCT lead_id) = count(*) AS none_twice, count(*) FILTER (WHERE lead_id >= 3600000400) AS those_that_stayed FROM smartlead_list_leads(600001);
\set said `test/sandboxctl POST /_sandbox/config '{"shift": "swap"}'`
SELECT count(*), count(DISTINCT lead_id) FROM smartlead_list_leads(600001);
