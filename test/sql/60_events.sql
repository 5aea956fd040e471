\set ECHO none
\i test/sql/include/connect.sql
\set ECHO all
-- What the tables and functions of webhooks look like, and who may use them. Requests are in t/.
SELECT smartlead_create_events();
SELECT attname, format_type(atttypid, atttypmod), attnotnull, col_description(attrelid, attnum) IS NOT NULL AS told
  FROM pg_attribute WHERE attrelid = 'smartlead_events'::regclass AND attnum > 0 ORDER BY attnum;
SELECT relkind, pg_get_userbyid(relowner), reloptions, obj_description(oid) FROM pg_class WHERE oid = 'smartlead_events'::regclass;
SELECT polname, obj_description(oid) FROM pg_policy WHERE polrelid = 'smartlead_events'::regclass ORDER BY 1;

-- It is no member of the extension, and depends on nothing of it: events outlive DROP EXTENSION.
SELECT count(*) FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = 'smartlead_events'::regclass AND deptype = 'e';
INSERT INTO smartlead_events (id, connection, fingerprint, event_at, payload) VALUES (41, 'x', gen_random_uuid(), now(), '{}');
SET client_min_messages = warning;
DROP EXTENSION smartlead CASCADE;
RESET client_min_messages;
SELECT id, connection FROM smartlead_events;
CREATE EXTENSION smartlead;
SELECT smartlead_check_events();
SELECT last_value, is_called FROM smartlead_event_id_seq;
CREATE SERVER sandbox FOREIGN DATA WRAPPER smartlead OPTIONS (base_url 'http://127.0.0.1:1/');
CREATE USER MAPPING FOR CURRENT_USER SERVER sandbox OPTIONS (api_key 'unused');
SELECT smartlead_webhook_url() LIKE 'http%';
SELECT last_value, is_called FROM smartlead_event_id_seq;
SELECT smartlead_create_events();
SELECT last_value, is_called FROM smartlead_event_id_seq;
INSERT INTO smartlead_events (id, connection, fingerprint, event_at, payload) VALUES (99, 'x', gen_random_uuid(), now(), '{}');
SELECT smartlead_create_events();
SELECT last_value, is_called FROM smartlead_event_id_seq;
DROP TABLE smartlead_events;
\set SHOW_CONTEXT never
SELECT smartlead_check_events();
SELECT * FROM smartlead_new_events(0);

-- Partitioned, without partitions
SELECT smartlead_create_events(partitioned => true);
SELECT relkind, pg_get_partkeydef(oid), pg_get_userbyid(relowner), relrowsecurity FROM pg_class WHERE oid = 'smartlead_events'::regclass;
SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'smartlead_events'::regclass AND contype = 'p';
SELECT count(*) FROM smartlead_new_events(0);
DROP TABLE smartlead_events;

-- What is in its place is taken if it fits: whatever columns, order, keys and identity it has besides
CREATE TABLE smartlead_events (note text DEFAULT 'new', gone int, LIKE smartlead_event, domain text GENERATED ALWAYS AS (split_part(lead_email, '@', 2)) STORED);
ALTER TABLE smartlead_events DROP gone;
ALTER TABLE smartlead_events ALTER id SET NOT NULL, ALTER id ADD GENERATED ALWAYS AS IDENTITY;
SELECT smartlead_create_events();
DROP TABLE smartlead_events;

-- and else refused
CREATE VIEW smartlead_events AS SELECT NULL::smartlead_event;
SELECT smartlead_create_events();
SELECT smartlead_webhook_url();
SELECT * FROM smartlead_new_events(0);
DROP VIEW smartlead_events;
CREATE SEQUENCE smartlead_events;
SELECT smartlead_create_events();
DROP SEQUENCE smartlead_events;
CREATE TYPE smartlead_events AS (id bigint);
SELECT smartlead_create_events();
DROP TYPE smartlead_events;
CREATE UNLOGGED TABLE smartlead_events (LIKE smartlead_event);
SELECT smartlead_create_events();
DROP TABLE smartlead_events;
CREATE TABLE smartlead_events (LIKE smartlead_event);
ALTER TABLE smartlead_events ALTER lead_name TYPE varchar(100);
SELECT smartlead_create_events();
ALTER TABLE smartlead_events DROP lead_name;
SELECT smartlead_create_events();
ALTER TABLE smartlead_events ADD lead_name text GENERATED ALWAYS AS (lead_email) STORED;
SELECT smartlead_create_events();
ALTER TABLE smartlead_events DROP lead_name, ADD lead_name text;
SELECT smartlead_create_events();
CREATE RULE elsewhere AS ON INSERT TO smartlead_events DO INSTEAD NOTHING;
SELECT smartlead_create_events();
DROP RULE elsewhere ON smartlead_events;
SELECT smartlead_create_events();
CREATE ROLE regress_trap;
GRANT smartlead_user TO regress_trap;
ALTER TABLE smartlead_events OWNER TO regress_trap;
SELECT smartlead_create_events();
SELECT smartlead_webhook_url();
GRANT smartlead_admin TO regress_trap;
SELECT smartlead_create_events();
REVOKE smartlead_admin FROM regress_trap;
SELECT smartlead_create_events();
DROP TABLE smartlead_events;
DROP ROLE regress_trap;
\set SHOW_CONTEXT errors

-- As new
\set ECHO none
\i test/sql/include/connect.sql
\set ECHO all

-- A URL
SET smartlead.public_url = 'https://hooks.example.com/leads/';
SELECT regexp_replace(smartlead_webhook_url(), '[A-Za-z0-9_-]{43}$', 'TOKEN'); -- which makes the table
SELECT smartlead_check_events();
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
INSERT INTO smartlead_events (id, connection, fingerprint, event_at, payload) VALUES (1, 'x', gen_random_uuid(), now(), '{}');
SELECT count(*) FROM smartlead_event_keys;
SELECT nextval('smartlead_event_id_seq');
SELECT smartlead_create_events();
SELECT smartlead_webhook_url();
SELECT smartlead_start_workers();
SET ROLE regress_admin;
SELECT smartlead_create_events();
INSERT INTO smartlead_event_keys VALUES (gen_random_uuid(), 1, now());
INSERT INTO smartlead_failed_events (received_at, connection, payload, sqlstate, error) VALUES (now(), 'x', '{}', 'XX000', '');
CREATE TRIGGER mine AFTER INSERT ON smartlead_failed_events FOR EACH ROW EXECUTE FUNCTION smartlead_content_changed();
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

-- The trigger function is for its triggers alone.
SELECT smartlead_content_changed();
BEGIN;
CREATE TRIGGER before BEFORE INSERT ON smartlead_automations FOR EACH ROW EXECUTE FUNCTION smartlead_content_changed();
INSERT INTO smartlead_automations (owner, event_type, action, args, max_per_hour) VALUES (current_user::regrole, 'EMAIL_REPLY', 'pause_lead', '{}', 1);
ROLLBACK;
