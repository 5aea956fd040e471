\set ECHO none
\i test/sql/include/connect.sql
\set ECHO all
-- Another service of Smartlead's, at an address of its own. The key of a connection whose base_url is
-- not Smartlead's goes there only if that is set.
SELECT smartlead_get_sender_vendors();
\echo :LAST_ERROR_SQLSTATE
ALTER SERVER sandbox OPTIONS (ADD smart_senders_url 'http://senders.example/api');
\set ECHO none
ALTER SERVER sandbox OPTIONS (ADD smart_senders_url :'sandbox_url', SET base_url 'http://127.0.0.1:9/api/v1', ADD max_retries '0');
\set ECHO all
SELECT smartlead_get_sender_vendors();
SELECT smartlead_order_sender_mailboxes(1, 'clinic.example', '{"first_name": "Ada"}', '[{"domain": "clinic-mail.example"}]');
SELECT smartlead_order_sender_mailboxes(1, 'clinic.example', '[]', '[]');
-- What costs is never done twice.
\set said `test/sandboxctl POST /_sandbox/fault '{"kind": "process_then_drop", "method": "POST", "path": "/smart-senders/*"}'`
SELECT smartlead_order_sender_mailboxes(1, 'clinic.example', '{}', '[]');
\echo :LAST_ERROR_SQLSTATE
BEGIN READ ONLY;
SELECT smartlead_get_sender_vendors() IS NOT NULL AS read;
SELECT smartlead_order_sender_mailboxes(1, 'clinic.example', '{}', '[]');
ROLLBACK;
SELECT obj_description('smartlead_order_sender_mailboxes'::regproc), has_function_privilege('smartlead_user', 'smartlead_order_sender_mailboxes'::regproc, 'EXECUTE') AS users_may;
SELECT name, host, costs, administrators, repeatable FROM smartlead_endpoints WHERE host <> 'core';
-- A plain text is a JSON string, nothing is NULL.
\set said `test/sandboxctl POST /_sandbox/fault '{"kind": "status", "status": 200, "path": "/smart-senders/*", "body": "success"}'`
SELECT smartlead_order_sender_mailboxes(1, 'clinic.example', '{}', '[]');
\set said `test/sandboxctl POST /_sandbox/fault '{"kind": "status", "status": 200, "path": "/smart-senders/*", "body": ""}'`
SELECT smartlead_order_sender_mailboxes(1, 'clinic.example', '{}', '[]') IS NULL AS empty;
\set said `test/sandboxctl POST /_sandbox/reset`
