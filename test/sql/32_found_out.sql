\set ECHO none
\i test/sql/include/connect.sql
\set ECHO all
-- What was found out is asked once, not for each call: the ids of categories, the address of a lead.
CREATE FUNCTION asked() RETURNS TABLE (method text, path text) LANGUAGE sql AS $$
	SELECT r->>'method', r->>'path' FROM jsonb_array_elements(smartlead_request('GET', '/_sandbox/log')) AS log (r) $$;
SELECT count(smartlead_update_lead_category(549768, id, name)) FROM unnest(ARRAY[3499513771, 3499513772, 3499513773], ARRAY['Interested', 'interested', 'Not Interested']) AS u (id, name);
SELECT * FROM asked();
\set said `test/sandboxctl POST /_sandbox/reset`
SELECT smartlead_update_lead(549768, 3499513771, first_name => 'Ada'), smartlead_update_lead(549768, 3499513771, first_name => 'Ida');
SELECT * FROM asked();
-- An address that was given counts from then on.
\set said `test/sandboxctl POST /_sandbox/reset`
SELECT smartlead_update_lead(549768, 3499513771, email => 'ida@clinic.example');
SELECT smartlead_update_lead(549768, 3499513771, first_name => 'Ida');
SELECT email FROM smartlead_get_lead(3499513771);
-- What failed is asked anew.
\set said `test/sandboxctl POST /_sandbox/reset`
\set said `test/sandboxctl POST /_sandbox/fault '{"kind": "status", "status": 400, "method": "POST", "body": "{\"message\":\"no\"}"}'`
SELECT smartlead_update_lead_category(549768, 3499513771, 'Interested');
SELECT smartlead_update_lead_category(549768, 3499513771, 'Interested');
SELECT * FROM asked();
-- Of each key.
\set said `test/sandboxctl POST /_sandbox/reset`
ALTER USER MAPPING FOR CURRENT_USER SERVER sandbox OPTIONS (SET api_key 'sandbox-key-beta');
SELECT smartlead_update_lead_category(810001, 4000000001, 'Interested') IS NOT NULL AS done;
SELECT * FROM asked();
DROP FUNCTION asked;
\set said `test/sandboxctl POST /_sandbox/reset`
