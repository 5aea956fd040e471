\set ECHO none
\i test/sql/include/connect.sql
\set ECHO all
\x on
-- Every column of a campaign; what has none is in extra. Numbers that came as text are numbers.
SELECT * FROM smartlead_get_campaign(549768, include_tags => true);
SELECT * FROM smartlead_get_campaign(551900);
\x off
SELECT id, name, status, parent_campaign_id, client_id, track_settings FROM smartlead_list_campaigns() ORDER BY id;
SELECT id, name FROM smartlead_list_campaigns(client_id => 6);
SELECT id FROM smartlead_list_campaigns(max_rows => 2);
SELECT id FROM smartlead_list_campaigns(max_rows => 0);
SELECT id FROM smartlead_list_campaigns(max_rows => -1);

-- Not there: no row, in all three ways in which Smartlead says so.
SELECT * FROM smartlead_get_campaign(1);
SELECT smartlead_request('POST', '/_sandbox/config', body => '{"campaign_not_found": "empty_object"}') IS NOT NULL AS switched;
SELECT count(*) FROM smartlead_get_campaign(1);
SELECT smartlead_request('POST', '/_sandbox/config', body => '{"campaign_not_found": "empty_body"}') IS NOT NULL AS switched;
SELECT count(*) FROM smartlead_get_campaign(1);

-- A wrapped listing, in both documented envelopes.
SELECT smartlead_request('POST', '/_sandbox/config', body => '{"list_envelope": "success"}') IS NOT NULL AS switched;
SELECT count(*) FROM smartlead_list_campaigns();
SELECT smartlead_request('POST', '/_sandbox/config', body => '{"list_envelope": "data"}') IS NOT NULL AS switched;
SELECT count(*) FROM smartlead_list_campaigns();
\set said `test/sandboxctl POST /_sandbox/reset`

-- Create, and read back. The same name twice is two campaigns.
SELECT id, name, status, client_id, follow_up_percentage FROM smartlead_create_campaign('Winter ☃ "quoted"', client_id => 6);
SELECT id, name, status FROM smartlead_create_campaign('Winter ☃ "quoted"');
SELECT smartlead_create_campaign('No such client', client_id => 999);
\echo :LAST_ERROR_SQLSTATE
SELECT smartlead_create_campaign(NULL);
SELECT smartlead_create_campaign('');
-- When it can't be read back, the row has what is known.
\set said `test/sandboxctl POST /_sandbox/fault '{"kind": "status", "status": 403, "path": "/campaigns/7*"}'`
SELECT id, name, status, client_id, created_at, follow_up_percentage FROM smartlead_create_campaign('Half known', client_id => 6);

-- Delete.
SELECT smartlead_delete_campaign(700001);
SELECT count(*) FROM smartlead_get_campaign(700001);
SELECT smartlead_delete_campaign(700001);
\echo :LAST_ERROR_SQLSTATE
SELECT smartlead_delete_campaign(549768);
\echo :LAST_ERROR_SQLSTATE
SELECT smartlead_delete_campaign(NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM smartlead_get_campaign(NULL);

-- Both documented answers of a write.
\set said `test/sandboxctl POST /_sandbox/config '{"write_form": "d"}'`
SELECT smartlead_delete_campaign(700002);
\set said `test/sandboxctl POST /_sandbox/config '{"write_form": "empty"}'`
SELECT smartlead_delete_campaign(700003);

-- Nothing is changed from a read-only transaction; reading is fine.
BEGIN READ ONLY;
SELECT count(*) > 0 AS campaigns FROM smartlead_list_campaigns();
SELECT smartlead_create_campaign('x');
ROLLBACK;
BEGIN READ ONLY;
SELECT smartlead_delete_campaign(551900);
ROLLBACK;
