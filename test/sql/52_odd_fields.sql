\set ECHO none
\i test/sql/include/connect.sql
\set ECHO all
SET timezone = 'UTC';
-- C10: a field that can't be read as its column's type leaves the row: the column is NULL, and extra has the value as it came.
\set said `test/sandboxctl POST /_sandbox/fault '{"kind": "status", "status": 200, "body": "[{\"id\":1,\"name\":\"a\",\"status\":\"ACTIVE\",\"created_at\":1712915963,\"client_id\":\"null\",\"parent_campaign_id\":\"--\",\"max_leads_per_day\":\"50.0\",\"follow_up_percentage\":\"40%\"},{\"id\":2,\"name\":\"b\",\"created_at\":\"2026-01-02T03:04:05Z\",\"max_leads_per_day\":\"50\"}]"}'`
SELECT id, name, created_at, client_id, parent_campaign_id, max_leads_per_day, follow_up_percentage, extra FROM smartlead_list_campaigns();
-- C10: of every type.
\set said `test/sandboxctl POST /_sandbox/fault '{"kind": "status", "status": 200, "body": "[{\"id\":1,\"user_id\":1.5,\"created_at\":\"yesterday\",\"updated_at\":true,\"min_time_btwn_emails\":3000000000,\"max_leads_per_day\":{\"a\":[1]},\"enable_ai_esp_matching\":\"maybe\",\"send_as_plain_text\":2,\"status\":7,\"name\":[\"x\"],\"tags\":\"none\"}]"}'`
SELECT name, status, tags, user_id, created_at, updated_at, min_time_btwn_emails, max_leads_per_day, enable_ai_esp_matching, send_as_plain_text, extra FROM smartlead_list_campaigns();
\set said `test/sandboxctl POST /_sandbox/fault '{"kind": "status", "status": 200, "body": "[{\"id\":3,\"smtp_port\":\"n/a\",\"campaign_ids\":[1,\"2\",\"x\"],\"is_suspended\":null,\"client_id\":\"\",\"created_at\":\"2026-13-45T00:00:00Z\",\"message_per_day\":1e2,\"imap_port\":993.0,\"daily_sent_count\":1e30}]"}'`
SELECT id, smtp_port, campaign_ids, is_suspended, client_id, created_at, message_per_day, imap_port, daily_sent_count, extra FROM smartlead_list_campaign_email_accounts(1);
-- C10: half a surrogate pair, in a text and where none is due.
\set said `test/sandboxctl POST /_sandbox/fault '{"kind": "status", "status": 200, "body": "[{\"id\":1,\"name\":\"cut \\ud83d\",\"created_at\":\"\\ude00\",\"unknown\":\"\\ud83d\\ud83d\"}]"}'`
SELECT id, name = E'cut \uFFFD' AS name, created_at, extra = E'{"created_at": "\uFFFD", "unknown": "\uFFFD\uFFFD"}' AS extra FROM smartlead_list_campaigns();
-- C10: in a nested object, and of one id while the row has its own.
\set said `test/sandboxctl POST /_sandbox/fault '{"kind": "status", "status": 200, "body": "{\"total_leads\":\"3\",\"data\":[{\"campaign_lead_map_id\":4,\"created_at\":1712915963,\"lead\":{\"id\":5,\"email\":\"a@b.example\",\"is_unsubscribed\":\"perhaps\",\"phone_number\":\"--\"}},{\"campaign_lead_map_id\":6,\"lead_category_id\":\"null\",\"lead\":{\"id\":\"y\",\"email\":\"c@d.example\"}},{\"campaign_lead_map_id\":7,\"lead\":{\"id\":8,\"email\":null}}]}"}'`
SELECT campaign_lead_map_id, lead_id, email, lead_category_id, is_unsubscribed, created_at, extra FROM smartlead_list_leads(549768);
-- C10: of a lookup.
\set said `test/sandboxctl POST /_sandbox/fault '{"kind": "status", "status": 200, "body": "{\"id\":\"77\",\"email\":\"a@b.example\",\"created_at\":\"40%\",\"is_unsubscribed\":\"--\"}"}'`
SELECT id, email, created_at, is_unsubscribed, extra FROM smartlead_get_lead(77);
-- C10: a row without its id is an error.
\set said `test/sandboxctl POST /_sandbox/fault '{"kind": "status", "status": 200, "body": "[{\"id\":1},{\"name\":\"b\"}]"}'`
SELECT * FROM smartlead_list_campaigns();
\set said `test/sandboxctl POST /_sandbox/fault '{"kind": "status", "status": 200, "body": "[{\"id\":1},{\"id\":null,\"name\":\"b\"}]"}'`
SELECT * FROM smartlead_list_campaigns();
\set said `test/sandboxctl POST /_sandbox/fault '{"kind": "status", "status": 200, "body": "[{\"id\":\"1.5\"}]"}'`
SELECT * FROM smartlead_list_campaigns();
\set said `test/sandboxctl POST /_sandbox/fault '{"kind": "status", "status": 200, "body": "{\"total_leads\":\"1\",\"data\":[{\"campaign_lead_map_id\":\"x\",\"lead\":{\"id\":\"y\"}}]}"}'`
SELECT * FROM smartlead_list_leads(549768);
\set said `test/sandboxctl POST /_sandbox/fault '{"kind": "status", "status": 200, "body": "{\"total_leads\":\"1\",\"data\":[{\"lead\":{\"email\":\"a@b.example\"}}]}"}'`
SELECT * FROM smartlead_list_leads(549768);
\echo :LAST_ERROR_SQLSTATE
