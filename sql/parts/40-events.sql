
-- Events: what webhooks bring

/*
 * What the receiver makes of an event. The table of events is the user's own, made of this type by
 * smartlead_create_events() or by hand: CREATE TABLE smartlead_events (LIKE smartlead_event INCLUDING COMMENTS).
 */
CREATE TYPE @extschema@.smartlead_event AS (
	id bigint,
	received_at timestamptz,
	connection text,
	webhook bigint,
	request_id text COLLATE "C",
	fingerprint uuid,
	event_type text,
	kind text,
	event_at timestamptz,
	campaign_id bigint,
	campaign_name text,
	client_id bigint,
	lead_id bigint,
	lead_map_id bigint,
	lead_email text,
	lead_name text,
	from_email text,
	to_email text,
	sequence_number integer,
	subject text,
	message_id text,
	stats_id text,
	link text,
	category text,
	category_id bigint,
	reply_text text,
	payload jsonb
);

COMMENT ON TYPE @extschema@.smartlead_event IS 'an event that a webhook has told: the columns of smartlead_events';
COMMENT ON COLUMN @extschema@.smartlead_event.id IS 'Drawn before the commit, with gaps: a lower one may appear after a higher one, see smartlead_new_events(); order by event_at for the order in which things happened.';
COMMENT ON COLUMN @extschema@.smartlead_event.received_at IS 'When the request arrived.';
COMMENT ON COLUMN @extschema@.smartlead_event.connection IS 'The connection (foreign server) whose webhook it was.';
COMMENT ON COLUMN @extschema@.smartlead_event.webhook IS 'The row in smartlead_webhooks.';
COMMENT ON COLUMN @extschema@.smartlead_event.request_id IS 'The header X-Request-Id, if there was one. It doesn''t tell events apart: see fingerprint.';
COMMENT ON COLUMN @extschema@.smartlead_event.fingerprint IS 'What identifies the event: a repeated delivery has the same one, and adds no row.';
COMMENT ON COLUMN @extschema@.smartlead_event.event_type IS 'The type as the payload spells it; NULL if it tells none.';
COMMENT ON COLUMN @extschema@.smartlead_event.kind IS 'The type in the spelling that subscriptions use (EMAIL_REPLY for EMAIL_REPLIED); an unknown type in capitals.';
COMMENT ON COLUMN @extschema@.smartlead_event.event_at IS 'When it happened, says the payload (of a bounce, the bounce''s own time); else received_at.';
COMMENT ON COLUMN @extschema@.smartlead_event.campaign_id IS 'The campaign, where the payload names one.';
COMMENT ON COLUMN @extschema@.smartlead_event.campaign_name IS 'The campaign''s name at that time.';
COMMENT ON COLUMN @extschema@.smartlead_event.client_id IS 'The client (sub-account) of the campaign.';
COMMENT ON COLUMN @extschema@.smartlead_event.lead_id IS 'The lead''s id. Some types of event don''t tell it: see lead_email.';
COMMENT ON COLUMN @extschema@.smartlead_event.lead_map_id IS 'The lead''s id within the campaign, also from app_url.';
COMMENT ON COLUMN @extschema@.smartlead_event.lead_email IS 'The lead''s address. In a reply, that is the lead who was written to, whoever has answered.';
COMMENT ON COLUMN @extschema@.smartlead_event.lead_name IS 'The lead''s name.';
COMMENT ON COLUMN @extschema@.smartlead_event.from_email IS 'The sending mailbox; of an untracked reply its sender, of a lost mailbox that one.';
COMMENT ON COLUMN @extschema@.smartlead_event.to_email IS 'As the payload says; in a reply it may be an alias or a mailbox of one''s own.';
COMMENT ON COLUMN @extschema@.smartlead_event.sequence_number IS 'The step of the campaign''s sequence.';
COMMENT ON COLUMN @extschema@.smartlead_event.subject IS 'The e-mail''s subject.';
COMMENT ON COLUMN @extschema@.smartlead_event.message_id IS 'The Message-ID of the event''s own e-mail: of the reply, of the bounce, else of what was sent.';
COMMENT ON COLUMN @extschema@.smartlead_event.stats_id IS 'What sent, open, click and reply of one e-mail have in common.';
COMMENT ON COLUMN @extschema@.smartlead_event.link IS 'The link that was clicked, the first if there are several.';
COMMENT ON COLUMN @extschema@.smartlead_event.category IS 'The lead''s category: after a change the new one.';
COMMENT ON COLUMN @extschema@.smartlead_event.category_id IS 'The id of that category.';
COMMENT ON COLUMN @extschema@.smartlead_event.reply_text IS 'What the reply says, as plain text where the payload has that.';
COMMENT ON COLUMN @extschema@.smartlead_event.payload IS 'All that was sent, without webhook_url and secret_key.';

CREATE SEQUENCE @extschema@.smartlead_event_id_seq;

COMMENT ON SEQUENCE @extschema@.smartlead_event_id_seq IS 'The ids of events.';

/* What identifies events, for as long as a delivery may be repeated. Events told by their content have a subject. */
CREATE TABLE @extschema@.smartlead_event_keys (
	fingerprint uuid PRIMARY KEY,
	event_id bigint NOT NULL,
	received_at timestamptz NOT NULL,
	subject uuid,
	content uuid,
	request_id text COLLATE "C",
	CHECK ((subject IS NULL) OPERATOR(pg_catalog.=) (content IS NULL))
);

CREATE INDEX smartlead_event_keys_received_at ON @extschema@.smartlead_event_keys (received_at);
CREATE INDEX smartlead_event_keys_subject ON @extschema@.smartlead_event_keys (subject, event_id) WHERE subject IS NOT NULL;

COMMENT ON TABLE @extschema@.smartlead_event_keys IS
'What identifies the events of the last days (smartlead.event_key_retention): a delivery with the same key is a repetition.';
COMMENT ON COLUMN @extschema@.smartlead_event_keys.fingerprint IS 'As in smartlead_events.';
COMMENT ON COLUMN @extschema@.smartlead_event_keys.event_id IS 'The event''s id in smartlead_events, unless a trigger has dropped it.';
COMMENT ON COLUMN @extschema@.smartlead_event_keys.received_at IS 'When the request arrived.';
COMMENT ON COLUMN @extschema@.smartlead_event_keys.subject IS 'Of an event that is told by its content alone: what it is a change of, or the same as content.';
COMMENT ON COLUMN @extschema@.smartlead_event_keys.content IS 'Of such an event: the fingerprint of all that it says.';
COMMENT ON COLUMN @extschema@.smartlead_event_keys.request_id IS 'Of such an event: the header X-Request-Id, if there was one.';

CREATE TABLE @extschema@.smartlead_failed_events (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	failed_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	received_at timestamptz NOT NULL,
	connection text NOT NULL,
	webhook bigint,
	request_id text,
	event_type text,
	payload jsonb,
	body bytea,
	sqlstate text NOT NULL,
	error text NOT NULL,
	CHECK ((payload IS NULL) <> (body IS NULL))
);

COMMENT ON TABLE @extschema@.smartlead_failed_events IS
'Events whose triggers failed or took too long, and those that the database can''t hold. smartlead_retry_event(id) tries again.';
COMMENT ON COLUMN @extschema@.smartlead_failed_events.id IS 'For smartlead_retry_event().';
COMMENT ON COLUMN @extschema@.smartlead_failed_events.failed_at IS 'When it failed.';
COMMENT ON COLUMN @extschema@.smartlead_failed_events.received_at IS 'When the request arrived.';
COMMENT ON COLUMN @extschema@.smartlead_failed_events.connection IS 'The connection whose webhook it was.';
COMMENT ON COLUMN @extschema@.smartlead_failed_events.webhook IS 'The row in smartlead_webhooks.';
COMMENT ON COLUMN @extschema@.smartlead_failed_events.request_id IS 'The header X-Request-Id, if there was one.';
COMMENT ON COLUMN @extschema@.smartlead_failed_events.event_type IS 'The type as the payload spells it.';
COMMENT ON COLUMN @extschema@.smartlead_failed_events.payload IS 'All that was sent, without webhook_url and secret_key.';
COMMENT ON COLUMN @extschema@.smartlead_failed_events.body IS 'The bytes that were sent, where they can''t be a jsonb in this database; secrets are overwritten by stars.';
COMMENT ON COLUMN @extschema@.smartlead_failed_events.sqlstate IS 'The error''s code.';
COMMENT ON COLUMN @extschema@.smartlead_failed_events.error IS 'The error''s message, detail, hint and context.';

CREATE TABLE @extschema@.smartlead_webhooks (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	subscriber @extschema@.smartlead_role NOT NULL,
	connection text NOT NULL,
	level text NOT NULL CHECK (level IN ('campaign', 'client', 'user', 'by hand')),
	campaign_id bigint,
	client_id bigint,
	name text,
	event_types text[],
	categories text[],
	filtered boolean NOT NULL DEFAULT false,
	remote_id bigint,
	secret_key text,
	signing_secret text,
	signature_required boolean NOT NULL DEFAULT false,
	created_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
	ended_at timestamptz
);

COMMENT ON TABLE @extschema@.smartlead_webhooks IS
'Webhooks that lead to this database. Changed by functions: smartlead_subscribe() and those named after it.';
COMMENT ON COLUMN @extschema@.smartlead_webhooks.id IS 'Ours; smartlead_events.webhook.';
COMMENT ON COLUMN @extschema@.smartlead_webhooks.subscriber IS 'The role that subscribed: events are inserted as this role, or as smartlead_admin in place of a superuser.';
COMMENT ON COLUMN @extschema@.smartlead_webhooks.connection IS 'The connection (foreign server) that it belongs to.';
COMMENT ON COLUMN @extschema@.smartlead_webhooks.level IS 'campaign, client or user; "by hand" when somebody entered its URL at Smartlead.';
COMMENT ON COLUMN @extschema@.smartlead_webhooks.campaign_id IS 'The campaign, of a webhook at that level.';
COMMENT ON COLUMN @extschema@.smartlead_webhooks.client_id IS 'The client, of a webhook at that level.';
COMMENT ON COLUMN @extschema@.smartlead_webhooks.name IS 'Its name at Smartlead.';
COMMENT ON COLUMN @extschema@.smartlead_webhooks.event_types IS 'What was subscribed to.';
COMMENT ON COLUMN @extschema@.smartlead_webhooks.categories IS 'The categories that a change of category is told for.';
COMMENT ON COLUMN @extschema@.smartlead_webhooks.filtered IS 'Whether these categories were chosen, so that changes to others are not told.';
COMMENT ON COLUMN @extschema@.smartlead_webhooks.remote_id IS 'Smartlead''s own id of the webhook, when known.';
COMMENT ON COLUMN @extschema@.smartlead_webhooks.secret_key IS 'If set, payloads must carry it as "secret_key".';
COMMENT ON COLUMN @extschema@.smartlead_webhooks.signing_secret IS 'If set, the header X-Smartlead-Signature is checked with it.';
COMMENT ON COLUMN @extschema@.smartlead_webhooks.signature_required IS 'Whether a request without that header is refused.';
COMMENT ON COLUMN @extschema@.smartlead_webhooks.created_at IS 'When it was made.';
COMMENT ON COLUMN @extschema@.smartlead_webhooks.ended_at IS 'When it was ended; its tokens are gone since.';

CREATE TABLE @extschema@.smartlead_webhook_tokens (
	token_hash bytea PRIMARY KEY CHECK (pg_catalog.octet_length(token_hash) OPERATOR(pg_catalog.=) 32),
	webhook bigint NOT NULL, -- no foreign key: pg_restore -j loads both tables at once
	created_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
	expires_at timestamptz
);

COMMENT ON TABLE @extschema@.smartlead_webhook_tokens IS
'The secret parts of webhooks'' URLs, as SHA-256. Two of one webhook are valid while it is being rotated.';
COMMENT ON COLUMN @extschema@.smartlead_webhook_tokens.token_hash IS 'SHA-256 of the token; the token itself is nowhere.';
COMMENT ON COLUMN @extschema@.smartlead_webhook_tokens.webhook IS 'The webhook whose URL holds it.';
COMMENT ON COLUMN @extschema@.smartlead_webhook_tokens.created_at IS 'When it was made.';
COMMENT ON COLUMN @extschema@.smartlead_webhook_tokens.expires_at IS 'From then on, requests with it are answered 404; NULL: never.';

CREATE TRIGGER smartlead_content_changed
	AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON @extschema@.smartlead_webhook_tokens
	FOR EACH STATEMENT EXECUTE FUNCTION @extschema@.smartlead_content_changed();
CREATE TRIGGER smartlead_content_changed
	AFTER UPDATE OR DELETE OR TRUNCATE ON @extschema@.smartlead_webhooks
	FOR EACH STATEMENT EXECUTE FUNCTION @extschema@.smartlead_content_changed();

SELECT pg_catalog.pg_extension_config_dump('@extschema@.smartlead_event_keys', '');
SELECT pg_catalog.pg_extension_config_dump('@extschema@.smartlead_failed_events', '');
SELECT pg_catalog.pg_extension_config_dump('@extschema@.smartlead_webhooks', '');
SELECT pg_catalog.pg_extension_config_dump('@extschema@.smartlead_webhook_tokens', '');
SELECT pg_catalog.pg_extension_config_dump('@extschema@.smartlead_event_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('@extschema@.smartlead_failed_events_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('@extschema@.smartlead_webhooks_id_seq', '');

/* Who reads failed events: the connections are looked up once for a query. */
ALTER TABLE @extschema@.smartlead_failed_events ENABLE ROW LEVEL SECURITY;
CREATE POLICY usable_connections ON @extschema@.smartlead_failed_events
	USING (connection OPERATOR(pg_catalog.=) ANY (ARRAY(
		SELECT s.srvname::pg_catalog.text
		  FROM pg_catalog.pg_foreign_server s
		  JOIN pg_catalog.pg_foreign_data_wrapper w ON w.oid OPERATOR(pg_catalog.=) s.srvfdw
		 WHERE w.fdwname OPERATOR(pg_catalog.=) 'smartlead' AND pg_catalog.has_server_privilege(s.oid, 'USAGE'))));
-- It holds the role smartlead_admin itself, whatever its name is later (src/role/role.c).
CREATE POLICY administrators ON @extschema@.smartlead_failed_events TO smartlead_admin USING (true);

COMMENT ON POLICY usable_connections ON @extschema@.smartlead_failed_events IS 'events of the connections on which the user has USAGE';
COMMENT ON POLICY administrators ON @extschema@.smartlead_failed_events IS 'members of smartlead_admin see all';

-- The table of events

CREATE FUNCTION @extschema@.smartlead_check_events()
RETURNS regclass
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION @extschema@.smartlead_check_events() IS
'The table of events. Raises when there is none, and tells what keeps the receiver from writing into what is in its place.';

-- It belongs to smartlead_admin and depends on nothing of the extension's, so that it outlives DROP EXTENSION.
CREATE FUNCTION @extschema@.smartlead_create_events(partitioned boolean DEFAULT false)
RETURNS regclass
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	admin name;
	reader name;
	last bigint;
BEGIN
	-- Two at once: the one waits for the other, and finds what that has made.
	LOCK TABLE @extschema@.smartlead_event_keys IN SHARE UPDATE EXCLUSIVE MODE;
	IF to_regclass('@extschema@.smartlead_events') IS NOT NULL THEN
		PERFORM @extschema@.smartlead_check_events();
		-- Ids go on above those of before this extension. Receivers lock the table before they draw some.
		SELECT CASE WHEN s.is_called THEN s.last_value ELSE 0 END INTO last FROM @extschema@.smartlead_event_id_seq s;
		IF (SELECT max(e.id) FROM @extschema@.smartlead_events e) > last THEN
			LOCK TABLE @extschema@.smartlead_events IN SHARE ROW EXCLUSIVE MODE;
			PERFORM setval('@extschema@.smartlead_event_id_seq', greatest((SELECT max(e.id) FROM @extschema@.smartlead_events e), s.last_value))
			   FROM @extschema@.smartlead_event_id_seq s;
		END IF;
		RETURN '@extschema@.smartlead_events'::regclass;
	END IF;
	SELECT r.rolname INTO admin FROM pg_policy p JOIN pg_roles r ON r.oid = p.polroles[1]
	 WHERE p.polrelid = '@extschema@.smartlead_failed_events'::regclass AND p.polname = 'administrators';
	IF admin IS NULL THEN
		RAISE EXCEPTION 'role smartlead_admin does not exist' USING ERRCODE = 'undefined_object';
	END IF;
	EXECUTE format('CREATE TABLE @extschema@.smartlead_events (LIKE @extschema@.smartlead_event INCLUDING COMMENTS, PRIMARY KEY (%s)) %s',
		CASE WHEN partitioned THEN 'id, received_at' ELSE 'id' END,
		-- Rows are only added: they are frozen early, and statistics follow though the table is large.
		CASE WHEN partitioned THEN 'PARTITION BY RANGE (received_at)'
		     ELSE 'WITH (autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 100000,'
		          ' autovacuum_freeze_min_age = 0, autovacuum_analyze_scale_factor = 0.02, autovacuum_vacuum_scale_factor = 0.02)' END);
	ALTER TABLE @extschema@.smartlead_events
		ALTER received_at SET DEFAULT now(),
		ALTER received_at SET NOT NULL,
		ALTER connection SET NOT NULL,
		ALTER fingerprint SET NOT NULL,
		ALTER event_at SET NOT NULL,
		ALTER payload SET NOT NULL;
	COMMENT ON TABLE @extschema@.smartlead_events IS
	'Every event that Smartlead''s webhooks have told, once. Triggers on this table run in the receiver as the role that subscribed.';
	-- The connections are looked up once for a query.
	ALTER TABLE @extschema@.smartlead_events ENABLE ROW LEVEL SECURITY;
	CREATE POLICY usable_connections ON @extschema@.smartlead_events
		USING (connection OPERATOR(pg_catalog.=) ANY (ARRAY(
			SELECT s.srvname::pg_catalog.text
			  FROM pg_catalog.pg_foreign_server s
			  JOIN pg_catalog.pg_foreign_data_wrapper w ON w.oid OPERATOR(pg_catalog.=) s.srvfdw
			 WHERE w.fdwname OPERATOR(pg_catalog.=) 'smartlead' AND pg_catalog.has_server_privilege(s.oid, 'USAGE'))));
	EXECUTE format('CREATE POLICY administrators ON @extschema@.smartlead_events TO %I USING (true)', admin);
	COMMENT ON POLICY usable_connections ON @extschema@.smartlead_events IS 'events of the connections on which the user has USAGE';
	COMMENT ON POLICY administrators ON @extschema@.smartlead_events IS 'members of smartlead_admin see all';
	EXECUTE format('ALTER TABLE @extschema@.smartlead_events OWNER TO %I', admin);
	REVOKE ALL ON @extschema@.smartlead_events FROM PUBLIC;
	-- Who may read what the sequence has come to may read events: smartlead_user, whatever its name is by now.
	FOR reader IN SELECT r.rolname FROM pg_class c, aclexplode(c.relacl) a JOIN pg_roles r ON r.oid = a.grantee
	               WHERE c.oid = '@extschema@.smartlead_event_id_seq'::regclass AND a.grantee <> c.relowner
	                 AND a.privilege_type = 'SELECT'
	LOOP
		EXECUTE format('GRANT SELECT ON @extschema@.smartlead_events TO %I', reader);
	END LOOP;
	RETURN '@extschema@.smartlead_events'::regclass;
END $$;

COMMENT ON FUNCTION @extschema@.smartlead_create_events(boolean) IS
'Makes the table smartlead_events, or one that is partitioned by range of received_at and has no partitions yet. It is no part of the extension. One that is there already is taken if events can be written into it; else what is wrong is raised. smartlead_subscribe() and smartlead_webhook_url() call it.';

-- Webhooks

CREATE FUNCTION @extschema@.smartlead_webhook_url(connection name DEFAULT NULL)
RETURNS text
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION @extschema@.smartlead_webhook_url(name) IS
'Makes a webhook to be entered at Smartlead by hand and returns its URL, which holds a secret and can''t be shown again. Each call makes another one.';

CREATE FUNCTION @extschema@.smartlead_subscribe(
	campaign_id bigint DEFAULT NULL,
	events text[] DEFAULT '{EMAIL_SENT,EMAIL_OPEN,EMAIL_LINK_CLICK,EMAIL_REPLY,LEAD_UNSUBSCRIBED,LEAD_CATEGORY_UPDATED}',
	categories text[] DEFAULT NULL,
	client_id bigint DEFAULT NULL,
	level text DEFAULT NULL,
	name text DEFAULT NULL,
	connection name DEFAULT NULL)
RETURNS bigint
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE COST 100000;

COMMENT ON FUNCTION @extschema@.smartlead_subscribe(bigint, text[], text[], bigint, text, text, name) IS
'Registers a webhook at Smartlead that leads to this database, for a campaign, for a client, or with level => ''user'' for the whole workspace, and returns its id in smartlead_webhooks. categories: whose changes to tell; all of the workspace if not given. (POST /campaigns/{campaign_id}/webhooks or POST /webhook/create)';

CREATE FUNCTION @extschema@.smartlead_rotate_webhook(webhook bigint, overlap interval DEFAULT '1 day')
RETURNS text
AS 'MODULE_PATHNAME' LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE COST 100000;

COMMENT ON FUNCTION @extschema@.smartlead_rotate_webhook(bigint, interval) IS
'Gives a webhook a new URL, also at Smartlead unless it was made by hand, and returns it. The old one goes on to work for the time of the overlap.';

CREATE FUNCTION @extschema@.smartlead_unsubscribe_webhook(webhook bigint)
RETURNS boolean
AS 'MODULE_PATHNAME' LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE COST 100000;

COMMENT ON FUNCTION @extschema@.smartlead_unsubscribe_webhook(bigint) IS
'Removes a webhook at Smartlead and refuses its requests from then on. False: it had ended already. (DELETE /campaigns/{campaign_id}/webhooks or DELETE /webhook/delete)';

CREATE FUNCTION @extschema@.smartlead_revoke_webhook(webhook bigint)
RETURNS boolean
AS 'MODULE_PATHNAME' LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION @extschema@.smartlead_revoke_webhook(bigint) IS
'Makes the receiver refuse a webhook from now on, without asking Smartlead. False: it was refused already.';

CREATE FUNCTION @extschema@.smartlead_secure_webhook(
	webhook bigint,
	secret_key text DEFAULT NULL,
	signing_secret text DEFAULT NULL,
	signature_required boolean DEFAULT true)
RETURNS boolean
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION @extschema@.smartlead_secure_webhook(bigint, text, text, boolean) IS
'Sets what a webhook''s requests must prove besides their URL: the secret_key in the payload, and a signature (HMAC-SHA256 of the body) in the header X-Smartlead-Signature. NULL: not checked.';

CREATE FUNCTION @extschema@.smartlead_retry_event(id bigint)
RETURNS bigint
AS 'MODULE_PATHNAME' LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION @extschema@.smartlead_retry_event(bigint) IS
'Stores a failed event, with its triggers, and returns its id in smartlead_events; NULL if it is there already. Raises what goes wrong.';

CREATE FUNCTION @extschema@.smartlead_event_key(
	payload jsonb,
	connection text DEFAULT NULL,
	OUT kind text,
	OUT event_at timestamptz,
	OUT told_by text,
	OUT fingerprint uuid,
	OUT made_of jsonb)
RETURNS SETOF record
AS 'MODULE_PATHNAME' LANGUAGE C STABLE PARALLEL SAFE;

COMMENT ON FUNCTION @extschema@.smartlead_event_key(jsonb, text) IS
'What would identify the events in a payload or body: a row for each, with its fingerprint and what that is made of. told_by: the time, the Message-ID (message), or only all that it says (content), of which later occurrences get other fingerprints.';

-- Reading on: see src/webhook/ids.c. The rows are read by a later snapshot than the locks, so what has ended by then is seen.
CREATE FUNCTION @extschema@.smartlead_new_events(after bigint, max_rows bigint DEFAULT NULL)
RETURNS SETOF @extschema@.smartlead_event
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	last bigint;
	complete bigint;
BEGIN
	IF pg_is_in_recovery() OR current_setting('transaction_isolation') <> 'read committed' THEN
		RAISE EXCEPTION 'smartlead_new_events() works on a primary, and in READ COMMITTED transactions only'
			USING ERRCODE = 'feature_not_supported',
				HINT = 'Elsewhere nobody can tell whether an event with a lower id is still to come.';
	END IF;
	PERFORM @extschema@.smartlead_check_events();
	SELECT CASE WHEN s.is_called THEN s.last_value ELSE 0 END INTO last FROM @extschema@.smartlead_event_id_seq s;
	SELECT least(last, min((l.classid::bigint << 32) | l.objid::bigint)) INTO complete
	  FROM pg_locks l
	 WHERE l.locktype = 'userlock' AND l.objsubid = 8700 AND l.granted AND l.pid IS DISTINCT FROM pg_backend_pid()
	   AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database());
	RETURN QUERY
		SELECT e.id, e.received_at, e.connection, e.webhook, e.request_id, e.fingerprint, e.event_type, e.kind, e.event_at, e.campaign_id,
		       e.campaign_name, e.client_id, e.lead_id, e.lead_map_id, e.lead_email, e.lead_name, e.from_email, e.to_email, e.sequence_number,
		       e.subject, e.message_id, e.stats_id, e.link, e.category, e.category_id, e.reply_text, e.payload
		  FROM @extschema@.smartlead_events e
		 WHERE e.id > coalesce(after, 0) AND e.id <= complete ORDER BY e.id LIMIT max_rows;
END $$;

COMMENT ON FUNCTION @extschema@.smartlead_new_events(bigint, bigint) IS
'The events with higher ids than that, in the order of their ids, as far as no lower one can appear any more: whoever goes on after the last one that he got misses none.';

-- Workers

CREATE FUNCTION @extschema@.smartlead_start_workers()
RETURNS boolean
AS 'MODULE_PATHNAME' LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION @extschema@.smartlead_start_workers() IS
'Starts the workers of this database until the server''s next restart. False: they run already.';

CREATE FUNCTION @extschema@.smartlead_stop_workers()
RETURNS boolean
AS 'MODULE_PATHNAME' LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION @extschema@.smartlead_stop_workers() IS
'Stops the workers that smartlead_start_workers() has started. False: there are none.';

CREATE FUNCTION @extschema@.smartlead_worker_slots(
	OUT slot integer,
	OUT worker text,
	OUT number integer,
	OUT pid integer,
	OUT state text,
	OUT started_at timestamptz,
	OUT starts bigint,
	OUT address text,
	OUT port integer,
	OUT trouble text)
RETURNS SETOF record
AS 'MODULE_PATHNAME' LANGUAGE C STRICT VOLATILE PARALLEL RESTRICTED;

COMMENT ON FUNCTION @extschema@.smartlead_worker_slots() IS
'What smartlead_workers shows.';

CREATE VIEW @extschema@.smartlead_workers WITH (security_barrier = true) AS
SELECT w.worker, w.number, w.pid, w.state, w.started_at, w.starts, w.address, w.port, w.trouble
  FROM @extschema@.smartlead_worker_slots() w
 ORDER BY w.worker, w.number;

COMMENT ON VIEW @extschema@.smartlead_workers IS
'The launcher and the workers of this database.';
COMMENT ON COLUMN @extschema@.smartlead_workers.worker IS 'launcher, receiver, dispatcher or housekeeper.';
COMMENT ON COLUMN @extschema@.smartlead_workers.number IS 'Which one of several.';
COMMENT ON COLUMN @extschema@.smartlead_workers.pid IS 'Its process; NULL: it isn''t running.';
COMMENT ON COLUMN @extschema@.smartlead_workers.state IS 'starting, running, waiting (see trouble), no extension, or stopped.';
COMMENT ON COLUMN @extschema@.smartlead_workers.started_at IS 'When it started last.';
COMMENT ON COLUMN @extschema@.smartlead_workers.starts IS 'How often it has started.';
COMMENT ON COLUMN @extschema@.smartlead_workers.address IS 'Where it listens; NULL: nowhere.';
COMMENT ON COLUMN @extschema@.smartlead_workers.port IS 'The port of that.';
COMMENT ON COLUMN @extschema@.smartlead_workers.trouble IS 'Why it can''t do what the settings want.';

CREATE FUNCTION @extschema@.smartlead_receiver_counters(
	OUT slot integer,
	OUT requests bigint,
	OUT received bigint,
	OUT stored bigint,
	OUT duplicates bigint,
	OUT failed bigint,
	OUT refused_token bigint,
	OUT refused_method bigint,
	OUT refused_type bigint,
	OUT refused_size bigint,
	OUT refused_json bigint,
	OUT refused_secret bigint,
	OUT refused_busy bigint,
	OUT batches bigint,
	OUT mean_batch double precision,
	OUT largest_batch bigint,
	OUT mean_ms double precision,
	OUT max_ms double precision,
	OUT connections bigint,
	OUT evicted bigint,
	OUT last_stored_at timestamptz,
	OUT number integer)
RETURNS SETOF record
AS 'MODULE_PATHNAME' LANGUAGE C STRICT VOLATILE PARALLEL RESTRICTED;

COMMENT ON FUNCTION @extschema@.smartlead_receiver_counters() IS
'The counters behind smartlead_stat_receiver.';

CREATE VIEW @extschema@.smartlead_stat_receiver WITH (security_barrier = true) AS
SELECT c.number, w.pid, w.state, w.address, w.port, w.started_at,
       c.requests, c.received, c.stored, c.duplicates, c.failed,
       c.refused_token, c.refused_method, c.refused_type, c.refused_size, c.refused_json,
       c.refused_secret, c.refused_busy,
       c.batches, c.mean_batch, c.largest_batch, c.mean_ms, c.max_ms,
       c.connections, c.evicted, c.last_stored_at
  FROM @extschema@.smartlead_receiver_counters() c
  JOIN @extschema@.smartlead_worker_slots() w ON w.slot = c.slot
 ORDER BY c.number;

COMMENT ON VIEW @extschema@.smartlead_stat_receiver IS
'What each receiver of this database has done since the server''s start or smartlead_stat_receiver_reset().';
COMMENT ON COLUMN @extschema@.smartlead_stat_receiver.number IS 'Which receiver, of smartlead.receivers.';
COMMENT ON COLUMN @extschema@.smartlead_stat_receiver.pid IS 'Its process; NULL: it isn''t running.';
COMMENT ON COLUMN @extschema@.smartlead_stat_receiver.state IS 'As in smartlead_workers.';
COMMENT ON COLUMN @extschema@.smartlead_stat_receiver.address IS 'Where it listens.';
COMMENT ON COLUMN @extschema@.smartlead_stat_receiver.port IS 'The port of that.';
COMMENT ON COLUMN @extschema@.smartlead_stat_receiver.started_at IS 'When it started last.';
COMMENT ON COLUMN @extschema@.smartlead_stat_receiver.requests IS 'Requests with a valid token and a JSON body.';
COMMENT ON COLUMN @extschema@.smartlead_stat_receiver.received IS 'Events in them.';
COMMENT ON COLUMN @extschema@.smartlead_stat_receiver.stored IS 'New ones, now in smartlead_events.';
COMMENT ON COLUMN @extschema@.smartlead_stat_receiver.duplicates IS 'Repeated deliveries, or such as a BEFORE trigger has dropped.';
COMMENT ON COLUMN @extschema@.smartlead_stat_receiver.failed IS 'Those now in smartlead_failed_events.';
COMMENT ON COLUMN @extschema@.smartlead_stat_receiver.refused_token IS 'Answered 404: no valid token.';
COMMENT ON COLUMN @extschema@.smartlead_stat_receiver.refused_method IS 'Answered 405: not POST.';
COMMENT ON COLUMN @extschema@.smartlead_stat_receiver.refused_type IS 'Answered 415: not application/json.';
COMMENT ON COLUMN @extschema@.smartlead_stat_receiver.refused_size IS 'Answered 413: beyond smartlead.max_body_size.';
COMMENT ON COLUMN @extschema@.smartlead_stat_receiver.refused_json IS 'Answered 400: not JSON, or no clear length.';
COMMENT ON COLUMN @extschema@.smartlead_stat_receiver.refused_secret IS 'Answered 401: the secret_key or the signature is wrong.';
COMMENT ON COLUMN @extschema@.smartlead_stat_receiver.refused_busy IS 'Answered 503: no memory left for the queue, or the server could not commit.';
COMMENT ON COLUMN @extschema@.smartlead_stat_receiver.batches IS 'Transactions with events.';
COMMENT ON COLUMN @extschema@.smartlead_stat_receiver.mean_batch IS 'Mean number of events in one.';
COMMENT ON COLUMN @extschema@.smartlead_stat_receiver.largest_batch IS 'Most events in one.';
COMMENT ON COLUMN @extschema@.smartlead_stat_receiver.mean_ms IS 'Mean milliseconds from the end of a request''s headers to its answer, of those answered 200.';
COMMENT ON COLUMN @extschema@.smartlead_stat_receiver.max_ms IS 'The longest of those times.';
COMMENT ON COLUMN @extschema@.smartlead_stat_receiver.connections IS 'HTTP connections open now.';
COMMENT ON COLUMN @extschema@.smartlead_stat_receiver.evicted IS 'HTTP connections closed because they took too long, or to make room.';
COMMENT ON COLUMN @extschema@.smartlead_stat_receiver.last_stored_at IS 'When an event was stored last.';

CREATE FUNCTION @extschema@.smartlead_stat_receiver_reset()
RETURNS void
AS 'MODULE_PATHNAME' LANGUAGE C STRICT VOLATILE PARALLEL RESTRICTED;

COMMENT ON FUNCTION @extschema@.smartlead_stat_receiver_reset() IS
'Sets the counters of this database''s receivers to zero.';

REVOKE ALL ON @extschema@.smartlead_event_keys, @extschema@.smartlead_failed_events,
	@extschema@.smartlead_webhooks, @extschema@.smartlead_webhook_tokens,
	@extschema@.smartlead_workers, @extschema@.smartlead_stat_receiver FROM PUBLIC;
GRANT SELECT ON @extschema@.smartlead_workers, @extschema@.smartlead_stat_receiver TO smartlead_user;
GRANT SELECT, DELETE ON @extschema@.smartlead_failed_events TO smartlead_admin;
GRANT SELECT (id, subscriber, connection, level, campaign_id, client_id, name, event_types,
	categories, filtered, remote_id, signature_required, created_at, ended_at)
	ON @extschema@.smartlead_webhooks TO smartlead_admin;
REVOKE ALL ON FUNCTION
	@extschema@.smartlead_check_events(),
	@extschema@.smartlead_create_events(boolean),
	@extschema@.smartlead_webhook_url(name),
	@extschema@.smartlead_subscribe(bigint, text[], text[], bigint, text, text, name),
	@extschema@.smartlead_rotate_webhook(bigint, interval),
	@extschema@.smartlead_unsubscribe_webhook(bigint),
	@extschema@.smartlead_revoke_webhook(bigint),
	@extschema@.smartlead_secure_webhook(bigint, text, text, boolean),
	@extschema@.smartlead_retry_event(bigint),
	@extschema@.smartlead_event_key(jsonb, text),
	@extschema@.smartlead_new_events(bigint, bigint),
	@extschema@.smartlead_start_workers(),
	@extschema@.smartlead_stop_workers(),
	@extschema@.smartlead_worker_slots(),
	@extschema@.smartlead_receiver_counters(),
	@extschema@.smartlead_stat_receiver_reset() FROM PUBLIC;
GRANT SELECT ON SEQUENCE @extschema@.smartlead_event_id_seq TO smartlead_user;
GRANT EXECUTE ON FUNCTION
	@extschema@.smartlead_check_events(),
	@extschema@.smartlead_event_key(jsonb, text),
	@extschema@.smartlead_new_events(bigint, bigint),
	@extschema@.smartlead_worker_slots(),
	@extschema@.smartlead_receiver_counters() TO smartlead_user;
GRANT EXECUTE ON FUNCTION
	@extschema@.smartlead_create_events(boolean),
	@extschema@.smartlead_webhook_url(name),
	@extschema@.smartlead_subscribe(bigint, text[], text[], bigint, text, text, name),
	@extschema@.smartlead_rotate_webhook(bigint, interval),
	@extschema@.smartlead_unsubscribe_webhook(bigint),
	@extschema@.smartlead_revoke_webhook(bigint),
	@extschema@.smartlead_secure_webhook(bigint, text, text, boolean),
	@extschema@.smartlead_retry_event(bigint),
	@extschema@.smartlead_start_workers(),
	@extschema@.smartlead_stop_workers(),
	@extschema@.smartlead_stat_receiver_reset() TO smartlead_admin;
