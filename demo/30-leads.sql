-- 3. Leads of a campaign. smartlead_list_leads fetches as many pages as there are.
SELECT id AS campaign FROM smartlead_list_campaigns() WHERE name = 'Spring dentists' \gset

SELECT lead_id, email, first_name, company_name, status, custom_fields
FROM smartlead_list_leads(:campaign)
ORDER BY lead_id LIMIT 5;

-- They join with your own tables: here a CRM that knows some of these people already.
CREATE TABLE customers (email text PRIMARY KEY, owner text, plan text, renewal date);
INSERT INTO customers VALUES
	('ada@clinic.example', 'Sofia', 'team', '2026-12-01'),
	('chi@clinic.example', 'Marek', 'free', NULL);

SELECT l.email, l.status, c.owner, c.plan, c.renewal
FROM smartlead_list_leads(:campaign) l
JOIN customers c USING (email)
ORDER BY l.email;
