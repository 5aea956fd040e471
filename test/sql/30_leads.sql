\set ECHO none
\i test/sql/include/connect.sql
\set ECHO all
\x on
-- By e-mail: the id comes as text, "--" stands for nothing, "+" must be encoded.
SELECT * FROM smartlead_get_lead('ada@clinic.example');
SELECT id, email, phone_number, custom_fields, extra FROM smartlead_get_lead('dora+sales@smile.example');
SELECT first_name, last_name, phone_number, custom_fields FROM smartlead_get_lead('bjorn@tand.example');
SELECT company_name, is_unsubscribed, unsubscribed_client_id_map FROM smartlead_get_lead('emil@gone.example');
-- By id, which comes in a list of one.
SELECT id, email, created_at, extra FROM smartlead_get_lead(3499513771);
\x off
SELECT count(*) FROM smartlead_get_lead('nobody@nowhere.example');
SELECT count(*) FROM smartlead_get_lead(1);
SELECT * FROM smartlead_get_lead(NULL::text);
SELECT * FROM smartlead_get_lead('');
\set said `test/sandboxctl POST /_sandbox/config '{"id_form": "number"}'`
SELECT id FROM smartlead_get_lead('ada@clinic.example');
SELECT count(*) AS fields FROM smartlead_get_lead('fern@garden.example'), jsonb_object_keys(custom_fields);

-- Update: only what is given. The address is read first when it isn't.
SELECT smartlead_update_lead(549768, 3499513773, last_name => 'Obi', company_name => 'Ünïcode & "Co" \ 日本 𝄞');
SELECT smartlead_update_lead(549768, 3499513773, email => 'chi@clinic.example', location => '', custom_fields => '{"title": "CTO", "n": 12345678901234567890}');
SELECT last_name, company_name, location, custom_fields FROM smartlead_get_lead('chi@clinic.example');
\set said `test/sandboxctl GET '/_sandbox/log?path=/campaigns/549768/leads/3499513773'`
SELECT entry->>'body' AS body FROM jsonb_array_elements(:'said') AS entry;
SELECT smartlead_update_lead(549768, 3499513773);
SELECT smartlead_update_lead(549768, 3499513773, custom_fields => '[1]');
SELECT smartlead_update_lead(549768, 1, last_name => 'x');
\echo :LAST_ERROR_SQLSTATE
SELECT smartlead_update_lead(NULL, 3499513773, last_name => 'x');

-- Categories: by id, by name, cleared.
SELECT id, name, sentiment_type FROM smartlead_list_lead_categories() ORDER BY id;
SELECT smartlead_update_lead_category(549768, 3499513773, 91034);
SELECT smartlead_update_lead_category(549768, 3499513772, 'meeting request', pause_lead => true);
SELECT lead_id, status, lead_category_id FROM smartlead_list_leads(549768) WHERE lead_id IN (3499513772, 3499513773) ORDER BY 1;
SELECT smartlead_clear_lead_category(549768, 3499513773);
SELECT lead_category_id FROM smartlead_list_leads(549768) WHERE lead_id = 3499513773;
SELECT smartlead_update_lead_category(549768, 3499513773, 'Nonsense');
\echo :LAST_ERROR_SQLSTATE
SELECT smartlead_update_lead_category(549768, 3499513773, 777);
\echo :LAST_ERROR_SQLSTATE
SELECT smartlead_update_lead_category(549768, 3499513773, NULL::bigint);
SELECT smartlead_update_lead_category(549768, 1, 1);
SELECT smartlead_clear_lead_category(549768, NULL);

-- Pause and resume.
SELECT smartlead_pause_lead(549768, 3499513771), smartlead_pause_lead(549768, 3499513771);
SELECT status FROM smartlead_list_leads(549768) WHERE lead_id = 3499513771;
SELECT smartlead_resume_lead(549768, 3499513771);
SELECT smartlead_resume_lead(549768, 3499513771, delay_days => 3);
SELECT status FROM smartlead_list_leads(549768) WHERE lead_id = 3499513771;
SELECT smartlead_resume_lead(549768, 3499513771, -1);
\echo :LAST_ERROR_SQLSTATE
SELECT smartlead_pause_lead(549768, 1);
SELECT smartlead_pause_lead(1, 3499513771);
SELECT smartlead_pause_lead(549768, NULL);
SELECT smartlead_resume_lead(NULL, 3499513771);
\set said `test/sandboxctl GET '/_sandbox/log?path=/campaigns/549768/leads/3499513771/resume'`
SELECT entry->>'body' AS body, entry->>'status' AS status FROM jsonb_array_elements(:'said') AS entry;

-- Delete: Smartlead answers with the bare word "success".
SELECT smartlead_delete_lead(549768, 3499513774);
SELECT count(*) FROM smartlead_list_leads(549768);
SELECT smartlead_delete_lead(549768, 3499513774);
\echo :LAST_ERROR_SQLSTATE
SELECT smartlead_delete_lead(549768, NULL);

-- Unsubscribe: from one campaign, from all; a NULL campaign is never "from all".
SELECT smartlead_unsubscribe_campaign_lead(552100, 3499513771);
SELECT is_unsubscribed FROM smartlead_get_lead(3499513771);
-- C5: an untyped NULL is an error, too, and chooses nothing wider.
SELECT smartlead_unsubscribe_campaign_lead(NULL, 3499513771);
SELECT smartlead_unsubscribe_campaign_lead(552100, NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT is_unsubscribed FROM smartlead_get_lead(3499513771);
SELECT smartlead_unsubscribe_lead(3499513771);
SELECT is_unsubscribed FROM smartlead_get_lead(3499513771);
SELECT smartlead_unsubscribe_lead(1);
SELECT smartlead_unsubscribe_lead(NULL::bigint);

-- In a read-only transaction.
\set ON_ERROR_ROLLBACK on
BEGIN READ ONLY;
SELECT smartlead_update_lead(549768, 3499513773, last_name => 'x');
SELECT smartlead_update_lead_category(549768, 3499513773, 1);
SELECT smartlead_clear_lead_category(549768, 3499513773);
SELECT smartlead_pause_lead(549768, 3499513773);
SELECT smartlead_resume_lead(549768, 3499513773);
SELECT smartlead_delete_lead(549768, 3499513773);
SELECT smartlead_unsubscribe_lead(3499513773);
SELECT count(*) FROM smartlead_list_leads(549768);
ROLLBACK;
