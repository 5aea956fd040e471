-- 6. Webhooks. A trigger of yours on the table of events acts within milliseconds of a reply. It runs
--    as the role that subscribed, never as a superuser.
CREATE ROLE revops LOGIN;
GRANT smartlead_admin TO revops;
GRANT USAGE ON FOREIGN SERVER sales TO revops;
CREATE USER MAPPING FOR revops SERVER sales OPTIONS (api_key 'sandbox-key-alpha');
CREATE SCHEMA crm AUTHORIZATION revops;
SET ROLE revops;

CREATE TABLE crm.hot_leads (email text, said text, at timestamptz);
CREATE FUNCTION crm.note_reply() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO crm.hot_leads VALUES (NEW.lead_email, NEW.reply_text, NEW.event_at);
	RETURN NEW;
END $$;

-- One call: the table is made, a token too, and the webhook registered at Smartlead.
SELECT smartlead_subscribe(549768) AS webhook \gset
CREATE TRIGGER note_reply AFTER INSERT ON smartlead_events
	FOR EACH ROW WHEN (NEW.kind = 'EMAIL_REPLY') EXECUTE FUNCTION crm.note_reply();

-- Now things happen at Smartlead: real requests over HTTP to the receiver.
SELECT smartlead_request('POST', '/_sandbox/emit', body => jsonb_build_object(
	'event', event, 'campaign_id', 549768, 'lead_id', 3499513771)) ->> 'ok' AS sent
FROM unnest(ARRAY['EMAIL_SENT', 'EMAIL_OPEN', 'EMAIL_LINK_CLICK', 'EMAIL_REPLY']) AS event;
SELECT smartlead_update_lead_category(549768, 3499513771, 'Interested');
SELECT smartlead_unsubscribe_campaign_lead(549768, 3499513775);

DO $$ -- until they are here
BEGIN
	FOR i IN 1 .. 200 LOOP
		EXIT WHEN (SELECT count(*) >= 6 FROM smartlead_events);
		PERFORM pg_sleep(0.05);
	END LOOP;
END $$;

SELECT kind, lead_email, campaign_name, coalesce(link, category, reply_text) AS what FROM smartlead_events ORDER BY kind;
-- What the trigger did:
SELECT email, said FROM crm.hot_leads;
