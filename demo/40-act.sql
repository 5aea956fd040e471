-- 4. Act on a lead. Whoever pays already should get no more sales e-mails: pause.
SELECT id AS campaign FROM smartlead_list_campaigns() WHERE name = 'Spring dentists' \gset
SELECT lead_id AS lead FROM smartlead_list_leads(:campaign) WHERE email = 'ada@clinic.example' \gset

SELECT smartlead_pause_lead(:campaign, :lead);
SELECT email, status FROM smartlead_list_leads(:campaign) WHERE lead_id = :lead;

-- And on again.
SELECT smartlead_resume_lead(:campaign, :lead);
SELECT email, status FROM smartlead_list_leads(:campaign) WHERE lead_id = :lead;

-- A category, by its name.
SELECT smartlead_update_lead_category(:campaign, :lead, 'Meeting Request');
SELECT l.email, c.name AS category
FROM smartlead_list_leads(:campaign) l
JOIN smartlead_list_lead_categories() c ON c.id = l.lead_category_id
WHERE l.lead_id = :lead;
