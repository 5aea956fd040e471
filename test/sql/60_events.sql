\set ECHO none
\i test/sql/include/connect.sql
\set ECHO all
-- What the tables and functions of webhooks look like, and who may use them. Requests are in t/.
SELECT column_name, data_type FROM information_schema.columns
 WHERE table_name = 'smartlead_events' ORDER BY ordinal_position;

-- A URL
SET smartlead.public_url = 'https://hooks.example.com/leads/';
SELECT regexp_replace(smartlead_webhook_url(), '[A-Za-z0-9_-]{43}$', 'TOKEN');
SET smartlead.public_url = 'hooks.example.com';
RESET smartlead.public_url;
SELECT level, connection, campaign_id, remote_id, signature_required, ended_at IS NULL AS active FROM smartlead_webhooks;
SELECT octet_length(token_hash), expires_at FROM smartlead_webhook_tokens;
SELECT regexp_replace(smartlead_rotate_webhook(id), '[A-Za-z0-9_-]{43}$', 'TOKEN') LIKE 'http%TOKEN' AS rotated FROM smartlead_webhooks;
SELECT expires_at > now() + interval '23 hours' AS ends, count(*) FROM smartlead_webhook_tokens GROUP BY 1 ORDER BY 1;
SELECT smartlead_secure_webhook(id, secret_key => 'k') FROM smartlead_webhooks;
SELECT smartlead_revoke_webhook(id) FROM smartlead_webhooks;
SELECT smartlead_revoke_webhook(id) FROM smartlead_webhooks;
SELECT count(*) FROM smartlead_webhook_tokens;
\set VERBOSITY sqlstate
SELECT smartlead_rotate_webhook(id) FROM smartlead_webhooks;
SELECT smartlead_revoke_webhook(0);
SELECT smartlead_retry_event(0);
SELECT smartlead_subscribe();
SELECT smartlead_subscribe(549768, NULL);
SELECT smartlead_subscribe(549768, '{}');
BEGIN READ ONLY;
SELECT smartlead_webhook_url();
ROLLBACK;
\set VERBOSITY default

-- Subscribing
SELECT smartlead_subscribe(549768, '{EMAIL_REPLIED,EMAIL_BOUNCE}', '{Interested}', name => 'ours') > 0 AS subscribed;
SELECT name, campaign_id, event_types, categories FROM smartlead_list_webhooks(549768);
SELECT level, campaign_id, name, event_types, categories, remote_id IS NOT NULL AS known FROM smartlead_webhooks WHERE ended_at IS NULL;
SELECT smartlead_unsubscribe_webhook(id) FROM smartlead_webhooks WHERE ended_at IS NULL;
SELECT count(*) FROM smartlead_list_webhooks(549768);

-- Who may
CREATE ROLE regress_user;
CREATE ROLE regress_admin;
GRANT smartlead_user TO regress_user;
GRANT smartlead_admin TO regress_admin;
SET ROLE regress_user;
SELECT count(*) FROM smartlead_events;
SELECT count(*) FROM smartlead_stat_receiver;
SELECT count(*) FROM smartlead_failed_events;
INSERT INTO smartlead_events (connection, fingerprint, event_at, payload) VALUES ('x', gen_random_uuid(), now(), '{}');
SELECT smartlead_webhook_url();
SELECT smartlead_start_workers();
SET ROLE regress_admin;
SELECT count(*) FROM smartlead_failed_events;
SELECT count(id) FROM smartlead_webhooks;
SELECT count(secret_key) FROM smartlead_webhooks;
SELECT count(*) FROM smartlead_webhook_tokens;
UPDATE smartlead_webhooks SET subscriber = 'regress_user';
RESET ROLE;
DROP ROLE regress_user;
DROP ROLE regress_admin;

-- What is behind the views, and who may set counters to zero.
SELECT count(*) = (SELECT count(*) FROM smartlead_workers) FROM smartlead_worker_slots();
SELECT count(*) FROM smartlead_receiver_counters();
CREATE ROLE regress_user;
GRANT smartlead_user TO regress_user;
SET ROLE regress_user;
SELECT smartlead_stat_receiver_reset();
RESET ROLE;
DROP ROLE regress_user;

-- The trigger functions are for their triggers alone.
SELECT smartlead_run_automations();
SELECT smartlead_content_changed();
CREATE TABLE elsewhere (id bigint, kind text, connection text, payload jsonb);
CREATE TRIGGER rows AFTER INSERT ON elsewhere FOR EACH ROW EXECUTE FUNCTION smartlead_run_automations();
INSERT INTO elsewhere VALUES (1, 'EMAIL_REPLY', 'sandbox', NULL);
DROP TABLE elsewhere;
BEGIN;
CREATE TRIGGER statements AFTER INSERT ON smartlead_events FOR EACH STATEMENT EXECUTE FUNCTION smartlead_run_automations();
INSERT INTO smartlead_events (connection, fingerprint, event_at, payload) VALUES ('x', gen_random_uuid(), now(), '{}');
ROLLBACK;
BEGIN;
CREATE TRIGGER before BEFORE INSERT ON smartlead_events FOR EACH ROW EXECUTE FUNCTION smartlead_run_automations();
INSERT INTO smartlead_events (connection, fingerprint, event_at, payload) VALUES ('x', gen_random_uuid(), now(), '{}');
ROLLBACK;
BEGIN;
CREATE TRIGGER deletions AFTER DELETE ON smartlead_events FOR EACH ROW EXECUTE FUNCTION smartlead_run_automations();
INSERT INTO smartlead_events (connection, fingerprint, event_at, payload) VALUES ('x', gen_random_uuid(), now(), '{}');
DELETE FROM smartlead_events WHERE connection = 'x';
ROLLBACK;
BEGIN;
CREATE TRIGGER before BEFORE INSERT ON smartlead_automations FOR EACH ROW EXECUTE FUNCTION smartlead_content_changed();
INSERT INTO smartlead_automations (owner, event_type, action, args, max_per_hour) VALUES (current_user::regrole, 'EMAIL_REPLY', 'pause_lead', '{}', 1);
ROLLBACK;
