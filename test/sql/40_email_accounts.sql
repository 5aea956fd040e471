\set ECHO none
\i test/sql/include/connect.sql
\set ECHO all
\x on
-- Everything but the passwords.
SELECT * FROM smartlead_get_email_account(2907, fetch_campaigns => true);
\x off
SELECT count(*) FROM smartlead_get_email_account(1);
SELECT * FROM smartlead_get_email_account(NULL);
SELECT id, from_email, type, is_smtp_success, is_suspended, client_id, campaign_count FROM smartlead_list_email_accounts() ORDER BY id;

-- Every documented filter.
SELECT id FROM smartlead_list_email_accounts(is_in_use => true);
SELECT id FROM smartlead_list_email_accounts(is_in_use => false, warmup_status => 'ACTIVE');
SELECT id FROM smartlead_list_email_accounts(is_smtp_success => false);
SELECT id FROM smartlead_list_email_accounts(is_warmup_blocked => true);
SELECT id FROM smartlead_list_email_accounts(type => 'GMAIL', client_id => 6);
SELECT id, campaign_ids FROM smartlead_list_email_accounts(username => 'sam', fetch_campaigns => true);

-- A bare list that doesn't tell its length, over several pages.
CREATE SERVER many FOREIGN DATA WRAPPER smartlead OPTIONS (base_url :'sandbox_url', rate_limit 'none');
CREATE USER MAPPING FOR CURRENT_USER SERVER many OPTIONS (api_key 'sandbox-key-many');
SELECT count(*), count(DISTINCT id) FROM smartlead_list_email_accounts(connection => 'many');
SELECT count(*) FROM smartlead_list_email_accounts(max_rows => 120, connection => 'many');
SET smartlead.connection = 'sandbox';

-- Of a campaign: add, remove.
SELECT id, from_email, client_id, warmup_details FROM smartlead_list_campaign_email_accounts(549768) ORDER BY id;
SELECT smartlead_add_campaign_email_accounts(549768, ARRAY[2909, 2911]);
SELECT smartlead_add_campaign_email_accounts(549768, ARRAY[1]);
\echo :LAST_ERROR_SQLSTATE
SELECT smartlead_remove_campaign_email_accounts(549768, '{2909}');
SELECT array_agg(id ORDER BY id) FROM smartlead_list_campaign_email_accounts(549768);
SELECT smartlead_remove_campaign_email_accounts(549768, ARRAY[2907, 2908, 2911]);
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM smartlead_list_campaign_email_accounts(1);
SELECT smartlead_add_campaign_email_accounts(1, ARRAY[2907]);
SELECT smartlead_add_campaign_email_accounts(549768, NULL);
SELECT smartlead_remove_campaign_email_accounts(549768, ARRAY[2907, NULL]);
SELECT smartlead_remove_campaign_email_accounts(NULL, ARRAY[2907]);
-- The other spelling of the key, tried when the first is refused by name.
\set said `test/sandboxctl POST /_sandbox/config '{"remove_accounts_key": "email_accounts_ids"}'`
SELECT smartlead_remove_campaign_email_accounts(549768, ARRAY[2911]);
SELECT array_agg(id ORDER BY id) FROM smartlead_list_campaign_email_accounts(549768);

-- Settings, in the words in which they are read back.
SELECT smartlead_update_email_account(2907, message_per_day => 35, from_name => 'Sam S.', custom_tracking_domain => 'track.send.example',
	bcc_email => 'crm@send.example', signature => '<p>Sam</p>', client_id => 6, min_time_to_wait_in_mins => 12, is_suspended => true);
SELECT message_per_day, from_name, custom_tracking_domain, bcc_email, signature, client_id, min_time_to_wait_in_mins, is_suspended
FROM smartlead_get_email_account(2907);
SELECT smartlead_update_email_account(2907, signature => '');
SELECT smartlead_clear_email_account_client(2907);
SELECT signature, client_id, message_per_day FROM smartlead_get_email_account(2907);
\set said `test/sandboxctl GET '/_sandbox/log?path=/email-accounts/2907'`
SELECT entry->>'body' AS body FROM jsonb_array_elements(:'said') AS entry WHERE entry->>'method' = 'POST';
SELECT smartlead_update_email_account(2907);
SELECT smartlead_update_email_account(1, from_name => 'x');
\echo :LAST_ERROR_SQLSTATE
SELECT smartlead_update_email_account(NULL, from_name => 'x');
\set ON_ERROR_ROLLBACK on
BEGIN READ ONLY;
SELECT smartlead_update_email_account(2907, from_name => 'x');
SELECT smartlead_clear_email_account_client(2907);
SELECT smartlead_add_campaign_email_accounts(549768, ARRAY[2909]);
SELECT smartlead_remove_campaign_email_accounts(549768, ARRAY[2909]);
ROLLBACK;

-- The passwords are in no result.
SELECT count(*) AS leaks FROM (
	SELECT a::text FROM smartlead_list_email_accounts() AS a UNION ALL
	SELECT a::text FROM smartlead_get_email_account(2907) AS a UNION ALL
	SELECT a::text FROM smartlead_list_campaign_email_accounts(549768) AS a UNION ALL
	SELECT smartlead_request('GET', '/email-accounts/')::text UNION ALL
	SELECT smartlead_request('GET', '/email-accounts/2907/')::text UNION ALL
	SELECT smartlead_request('GET', '/campaigns/549768/email-accounts')::text) AS seen (text)
WHERE text LIKE '%s3cret%' OR text LIKE '%czNjcmV0%' OR text ILIKE '%password%';
