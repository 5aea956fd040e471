-- 7. Automations: what an event shall cause at Smartlead goes through a queue that a worker drains
--    after the commit. The four that are asked for first:
SET ROLE revops;
SELECT smartlead_automate('EMAIL_REPLY', 'update_lead_category', '{"campaign_id": "$campaign_id", "lead_id": "$lead_id", "category": "Meeting Request"}',
		'$ ? (!($category_id >= 2))') AS on_reply, -- not what Smartlead has found to be out of office (6), a bounce (9), ...
	smartlead_automate('LEAD_UNSUBSCRIBED', 'unsubscribe_lead', '{"email": "$lead_email"}') AS on_unsubscribe,
	smartlead_automate('EMAIL_LINK_CLICK', 'pause_lead', '{"campaign_id": "$campaign_id", "lead_id": "$lead_id"}') AS on_click,
	smartlead_automate('EMAIL_SENT', 'get_campaign', '{"campaign_id": "$campaign_id"}') AS on_sent;

SELECT smartlead_request('POST', '/_sandbox/emit', body => jsonb_build_object(
	'event', event, 'campaign_id', 549768, 'lead_id', lead)) ->> 'ok' AS sent
FROM (VALUES ('EMAIL_REPLY', 3499513772), ('LEAD_UNSUBSCRIBED', 3499513774),
	('EMAIL_LINK_CLICK', 3499513773), ('EMAIL_SENT', 3499513773)) AS e (event, lead);

DO $$ -- until they are done
BEGIN
	FOR i IN 1 .. 400 LOOP
		EXIT WHEN (SELECT count(*) FILTER (WHERE state = 'done') >= 4 FROM smartlead_queue);
		PERFORM pg_sleep(0.05);
	END LOOP;
END $$;

SELECT action, state, attempts, response ->> 'name' AS found FROM smartlead_queue ORDER BY action;
-- And at Smartlead:
SELECT email, status, lead_category_id, is_unsubscribed FROM smartlead_list_leads(549768) ORDER BY email;

-- An action of your own, from any transaction: it is done after the commit, or never.
SELECT smartlead_enqueue('resume_lead', '{"campaign_id": 549768, "lead_id": 3499513773, "delay_days": 2}') AS job \gset
SELECT state FROM smartlead_wait(:job, '10 seconds');
