\set ECHO none
\i test/sql/include/connect.sql
\set ECHO all
-- Query and body as JSON; numbers keep all their digits; plain text is a JSON string.
SELECT smartlead_request('GET', '/campaigns/549768/leads', '{"limit": 1, "offset": 3, "status": null}') #> '{data,0,lead}' AS lead;
SELECT smartlead_request('get', '/campaigns/549768/analytics')->'campaign_lead_stats'->'notStarted' AS not_started;
SELECT smartlead_request('POST', '/campaigns/549768/reply-email-thread', body => '{"email_stats_id": "7b27", "email_body": "Hi"}');
SELECT smartlead_request('POST', '/campaigns/549768/status', body => '{"status": "PAUSED"}');
SELECT smartlead_request('GET', '/leads/', '{"email": "dora+sales@smile.example"}') -> 'esp_score' AS exact;
SELECT smartlead_request('GET', '/leads/', '{"email": "nobody@nowhere.example"}');

SELECT smartlead_request('FETCH', '/campaigns/');
SELECT smartlead_request('GET', 'campaigns/');
SELECT smartlead_request('GET', '/campaigns/?api_key=x');
SELECT smartlead_request('GET', '/../admin');
-- S7: nor does a step that is encoded, in part, twice, or behind another separator, lead up.
SELECT smartlead_request('GET', '/%2e%2e/%2e%2e/x');
SELECT smartlead_request('GET', '/campaigns/.%2E');
SELECT smartlead_request('GET', '/campaigns/%252e%252e/x');
SELECT smartlead_request('GET', '/campaigns/..%2fx');
SELECT smartlead_request('GET', '/campaigns%5c..%5cx');
SELECT smartlead_request('GET', '/campaigns/..;v=1/x');
SELECT smartlead_request('GET', '/campaigns/./x');
SELECT smartlead_request('GET', '/campaigns%0d%0aHost:x');
SELECT smartlead_request('GET', '/campaigns/%00');
SELECT smartlead_request('GET', '/campaigns/100%');
SELECT smartlead_request('GET', '/campaigns/100%25/...');
SELECT smartlead_request('GET', '//elsewhere.example/');
SELECT smartlead_request('GET', '/a b');
SELECT smartlead_request('GET', '/campaigns/', '{"api_key": "x"}');
SELECT smartlead_request('GET', '/campaigns/', '[1]');
SELECT smartlead_request('GET', '/campaigns/', '{"a": {"b": 1}}');
SELECT smartlead_request(NULL, '/campaigns/');
BEGIN READ ONLY;
SELECT jsonb_typeof(smartlead_request('GET', '/campaigns/'));
SELECT smartlead_request('POST', '/campaigns/create');
ROLLBACK;

-- What was asked, counted.
SELECT smartlead_stat_reset();
SELECT count(*) > 0 AS listed FROM smartlead_list_campaigns();
SELECT count(*) FROM smartlead_get_campaign(1);
SELECT connection, endpoint, calls, errors, retries, throttled, bytes_sent > 0 AS sent, bytes_received > 0 AS received, mean_ms > 0 AS took_time
FROM smartlead_stat_requests ORDER BY endpoint;
