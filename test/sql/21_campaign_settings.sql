\set ECHO none
\i test/sql/include/connect.sql
\set ECHO all
-- Schedule, settings and sequences of campaigns: how arguments are sent, and which are refused before.
CREATE FUNCTION sent() RETURNS TABLE (path text, query text, body text) LANGUAGE sql AS $$
	SELECT r->>'path', nullif(r->>'query', ''), r->>'body' FROM (SELECT smartlead_request('GET', '/_sandbox/log')->-1) AS log (r) $$;

-- Words as they are read back, or as they are sent.
SELECT smartlead_set_campaign_status(551900, 'ACTIVE');
SELECT * FROM sent();
SELECT status FROM smartlead_get_campaign(551900);
SELECT smartlead_set_campaign_status(551900, 'PAUSED');
SELECT status FROM smartlead_get_campaign(551900);
SELECT smartlead_set_campaign_status(551900, 'GO');
SELECT smartlead_set_campaign_status(551900, NULL);

SELECT smartlead_set_campaign_team_member(551900, 12);
SELECT * FROM sent();
SELECT smartlead_set_campaign_team_member(551900, NULL);
SELECT smartlead_set_campaign_team_member(1, 12);

-- Numbers in lists, words of Smartlead's own, times.
SELECT smartlead_set_campaign_schedule(551900, 'Europe/Berlin', '{1,2,5}', '09:00', '17:30', 7, 50, '2026-12-01 08:00+00');
SELECT * FROM sent();
SELECT min_time_btwn_emails, max_leads_per_day FROM smartlead_get_campaign(551900);
SELECT smartlead_set_campaign_schedule(551900, 'Europe/Berlin', '{1,7}', '09:00', '17:30', 7, 50);
SELECT smartlead_set_campaign_schedule(551900, 'Europe/Berlin', '{1}', '09:00', '17:30', 2, 50);
SELECT smartlead_set_campaign_schedule(551900, NULL, '{1}', '09:00', '17:30', 3, 50);

-- Objects in the body; nothing is sent that isn't given.
SELECT smartlead_update_campaign_settings(551900, follow_up_percentage => 40, track_settings => '{DONT_LINK_CLICK,DONT_TRACK_EMAIL_OPEN}', ignore_ooo_as_reply => true, reactivate_ooo_with_delay => 3);
SELECT * FROM sent();
SELECT smartlead_update_campaign_settings(551900, name => 'Renamed');
SELECT * FROM sent();
SELECT name, follow_up_percentage FROM smartlead_get_campaign(551900);
SELECT smartlead_update_campaign_settings(551900);
SELECT smartlead_update_campaign_settings(551900, follow_up_percentage => 101);
SELECT smartlead_update_campaign_settings(551900, stop_lead_settings => 'NEVER');
SELECT smartlead_update_campaign_settings(551900, track_settings => '{DONT_TRACK_LINK_CLICK,NONE}');

-- Arrays of objects.
SELECT smartlead_save_campaign_sequences(551900, '[{"seq_number": 1, "subject": "Hi", "email_body": "Hi!", "seq_delay_details": {"delay_in_days": 0}}]');
SELECT * FROM sent();
SELECT smartlead_save_campaign_sequences(551900, '{"seq_number": 1}');
SELECT smartlead_save_campaign_sequences(551900, '"text"');

-- Dates, whatever DateStyle is.
SET datestyle = 'SQL, DMY';
SELECT id, start_date, end_date, sent_count, reply_count, open_count, extra FROM smartlead_get_campaign_analytics_by_date(549768, '2026-03-01', '2026-03-08', 'Europe/Berlin');
SELECT * FROM sent();
RESET datestyle;
SELECT * FROM smartlead_get_campaign_analytics_by_date(549768, '2026-03-01', 'infinity');

SELECT * FROM smartlead_list_lead_campaigns(3499513771) ORDER BY id;
SELECT count(*) FROM smartlead_list_lead_campaigns(1);

-- Numbers digit by digit.
SELECT smartlead_update_lead_revenue(2433664091, 1234.50);
SELECT * FROM sent();
SELECT smartlead_update_lead_revenue(2433664091, 'NaN');

-- The same as jobs are enqueued.
SELECT smartlead_enqueue('set_campaign_schedule', '{"campaign_id": 551900, "timezone": "UTC", "days": [1, 7], "start_hour": "09:00", "end_hour": "17:00", "min_time_btwn_emails": 3, "max_leads_per_day": 1}');
SELECT smartlead_enqueue('set_campaign_schedule', '{"campaign_id": 551900, "timezone": "UTC", "days": [1, "x"], "start_hour": "09:00", "end_hour": "17:00", "min_time_btwn_emails": 3, "max_leads_per_day": 1}');
SELECT smartlead_enqueue('update_campaign_settings', '{"campaign_id": 551900, "follow_up_percentage": 3000000000}');
SELECT smartlead_enqueue('update_campaign_settings', '{"campaign_id": 551900, "stop_lead_settings": "NEVER"}');
SELECT smartlead_enqueue('save_campaign_sequences', '{"campaign_id": 551900, "sequences": {}}');
SELECT smartlead_enqueue('update_lead_revenue', '{"campaign_lead_map_id": 2433664091, "revenue": "much"}');
DROP FUNCTION sent;
\set said `test/sandboxctl POST /_sandbox/reset`
