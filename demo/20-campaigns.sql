-- 2. Campaigns, as rows with typed columns.
SELECT id, name, status, created_at::date AS created, max_leads_per_day
FROM smartlead_list_campaigns()
ORDER BY id;
