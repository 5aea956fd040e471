\set ECHO none
\i test/sql/include/connect.sql
\set ECHO all
ALTER SERVER sandbox OPTIONS (ADD max_retries '0');
-- The six shapes in which Smartlead tells of an error.
\set said `test/sandboxctl POST /_sandbox/fault '{"kind": "status", "status": 401, "body": "{\"message\":\"Invalid API Key\"}"}'`
SELECT smartlead_pause_lead(549768, 3499513771);
\echo :LAST_ERROR_SQLSTATE
\set said `test/sandboxctl POST /_sandbox/fault '{"kind": "status", "status": 404, "body": "{\"error\":\"Campaign not found - Invalid campaign_id.\"}"}'`
SELECT smartlead_pause_lead(549768, 3499513771);
\echo :LAST_ERROR_SQLSTATE
SELECT smartlead_request('POST', '/campaigns/create', body => '{"clinet_id": 1}');
\echo :LAST_ERROR_SQLSTATE
SELECT smartlead_update_email_account(1, from_name => 'x');
\echo :LAST_ERROR_SQLSTATE
\set said `test/sandboxctl POST /_sandbox/fault '{"kind": "status", "status": 422, "body": "{\"error\":{\"code\":\"VALIDATION_ERROR\",\"message\":\"lead_list[2].email is required\",\"details\":{}}}"}'`
SELECT smartlead_pause_lead(549768, 3499513771);
\echo :LAST_ERROR_SQLSTATE
SELECT smartlead_request('GET', '/nosuch');
\echo :LAST_ERROR_SQLSTATE

-- 200 that means failure.
\set said `test/sandboxctl POST /_sandbox/fault '{"kind": "ok_false"}'`
SELECT smartlead_pause_lead(549768, 3499513771);
\echo :LAST_ERROR_SQLSTATE
\set said `test/sandboxctl POST /_sandbox/fault '{"kind": "success_false"}'`
SELECT * FROM smartlead_list_campaigns();
\echo :LAST_ERROR_SQLSTATE
\set said `test/sandboxctl POST /_sandbox/fault '{"kind": "ok_false"}'`
SELECT * FROM smartlead_get_campaign(549768);

-- Too many requests, with both bodies.
\set said `test/sandboxctl POST /_sandbox/fault '{"kind": "status", "status": 429, "body": "{\"message\":\"Too many requests\"}"}'`
SELECT smartlead_pause_lead(549768, 3499513771);
\echo :LAST_ERROR_SQLSTATE
\set said `test/sandboxctl POST /_sandbox/fault '{"kind": "status", "status": 429, "body": "{\"error\":{\"code\":\"RATE_LIMIT_EXCEEDED\",\"message\":\"Rate limit exceeded\",\"retry_after\":1}}"}'`
SELECT smartlead_pause_lead(549768, 3499513771);

-- A plain text, a web page, and status codes without words.
\set said `test/sandboxctl POST /_sandbox/fault '{"kind": "status", "status": 400, "content_type": "text/html", "body": "Invalid track_settings value - X"}'`
SELECT smartlead_pause_lead(549768, 3499513771);
\set said `test/sandboxctl POST /_sandbox/fault '{"kind": "html", "status": 502}'`
SELECT smartlead_pause_lead(549768, 3499513771);
\echo :LAST_ERROR_SQLSTATE
\set said `test/sandboxctl POST /_sandbox/fault '{"kind": "status", "status": 503, "body": " "}'`
SELECT smartlead_pause_lead(549768, 3499513771);
\set said `test/sandboxctl POST /_sandbox/fault '{"kind": "html", "status": 200}'`
SELECT smartlead_pause_lead(549768, 3499513771);
\echo :LAST_ERROR_SQLSTATE
\set said `test/sandboxctl POST /_sandbox/fault '{"kind": "status", "status": 409, "body": "{\"message\":\"Duplicate\"}"}'`
SELECT smartlead_pause_lead(549768, 3499513771);
\echo :LAST_ERROR_SQLSTATE
-- An unknown route is no "not found": wrong base_url, not a missing campaign.
\set said `test/sandboxctl POST /_sandbox/fault '{"kind": "html", "status": 404}'`
SELECT * FROM smartlead_get_campaign(549768);
\echo :LAST_ERROR_SQLSTATE

-- Answers that can't be read.
\set said `test/sandboxctl POST /_sandbox/fault '{"kind": "truncated_json"}'`
SELECT * FROM smartlead_list_campaigns();
\echo :LAST_ERROR_SQLSTATE
\set said `test/sandboxctl POST /_sandbox/fault '{"kind": "invalid_json"}'`
SELECT * FROM smartlead_list_campaigns();
\set said `test/sandboxctl POST /_sandbox/fault '{"kind": "deep"}'`
SELECT * FROM smartlead_list_campaigns();
\set said `test/sandboxctl POST /_sandbox/fault '{"kind": "nul"}'`
SELECT id, name = E'a\uFFFDb' AS replaced FROM smartlead_list_campaigns();
\set said `test/sandboxctl POST /_sandbox/fault '{"kind": "bad_utf8"}'`
SELECT * FROM smartlead_list_campaigns();
\set said `test/sandboxctl POST /_sandbox/fault '{"kind": "empty"}'`
SELECT * FROM smartlead_list_campaigns();
\echo :LAST_ERROR_SQLSTATE
\set said `test/sandboxctl POST /_sandbox/fault '{"kind": "status", "status": 200, "body": "{}"}'`
SELECT * FROM smartlead_list_campaigns();
\set said `test/sandboxctl POST /_sandbox/fault '{"kind": "status", "status": 200, "body": "[1, 2]"}'`
SELECT * FROM smartlead_list_campaigns();
\set said `test/sandboxctl POST /_sandbox/fault '{"kind": "status", "status": 200, "body": "[{\"id\": \"many\"}]"}'`
SELECT * FROM smartlead_list_campaigns();
\set said `test/sandboxctl POST /_sandbox/fault '{"kind": "status", "status": 200, "body": "[{\"id\": 1, \"created_at\": \"last week\"}]"}'`
SELECT id, created_at, extra FROM smartlead_list_campaigns();
\set said `test/sandboxctl POST /_sandbox/fault '{"kind": "status", "status": 200, "body": "[{\"id\": 99999999999999999999}]"}'`
SELECT * FROM smartlead_list_campaigns();
\set said `test/sandboxctl POST /_sandbox/fault '{"kind": "redirect"}'`
SELECT * FROM smartlead_list_campaigns();
\echo :LAST_ERROR_SQLSTATE
-- C8: a number that is out of range is refused by name, wherever it is.
\set said `test/sandboxctl POST /_sandbox/fault '{"kind": "status", "status": 200, "body": "[{\"id\": 1, \"score\": 1e999}]"}'`
SELECT * FROM smartlead_list_campaigns();
\set said `test/sandboxctl POST /_sandbox/fault '{"kind": "status", "status": 200, "body": "{\"id\": 1, \"password\": \"secret\", \"score\": -1e999}"}'`
SELECT smartlead_request('GET', '/email-accounts/1');
\set said `test/sandboxctl POST /_sandbox/fault '{"kind": "status", "status": 200, "body": "{\"id\": 1, \"password\": \"secret\", \"score\": 1e-999}"}'`
SELECT smartlead_request('POST', '/email-accounts/save', body => '{}');
\echo :LAST_ERROR_SQLSTATE
-- A wrong content type doesn't matter.
\set said `test/sandboxctl POST /_sandbox/fault '{"kind": "wrong_type", "body": "[{\"id\": 1}]"}'`
SELECT id FROM smartlead_list_campaigns();
-- An empty answer is retried where rows were due.
ALTER SERVER sandbox OPTIONS (SET max_retries '2');
\set said `test/sandboxctl POST /_sandbox/fault '{"kind": "empty"}'`
SELECT count(*) > 0 AS listed FROM smartlead_list_campaigns();
ALTER SERVER sandbox OPTIONS (SET max_retries '0');

-- The key stays out of the words of a careless service.
\set said `test/sandboxctl POST /_sandbox/config '{"echo_key": true}'`
SELECT smartlead_pause_lead(1, 1);
SELECT smartlead_request('POST', '/campaigns/create', body => '{"x": 1}');
