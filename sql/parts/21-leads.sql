/*
 * Leads.
 */
CREATE TYPE smartlead_lead AS (
	id bigint,
	email text,
	first_name text,
	last_name text,
	phone_number text,
	company_name text,
	website text,
	location text,
	linkedin_profile text,
	company_url text,
	custom_fields jsonb,
	is_unsubscribed boolean,
	unsubscribed_client_id_map jsonb,
	created_at timestamptz,
	lead_campaign_data jsonb,
	extra jsonb
);

COMMENT ON TYPE smartlead_lead IS 'a lead of the workspace; fields of Smartlead without a column are in extra';
COMMENT ON COLUMN smartlead_lead.lead_campaign_data IS 'the campaigns that the lead is in, as Smartlead lists them';

CREATE TYPE smartlead_campaign_lead AS (
	campaign_lead_map_id bigint,
	lead_id bigint,
	email text,
	first_name text,
	last_name text,
	status text,
	lead_category_id bigint,
	phone_number text,
	company_name text,
	website text,
	location text,
	linkedin_profile text,
	company_url text,
	custom_fields jsonb,
	is_unsubscribed boolean,
	unsubscribed_client_id_map jsonb,
	created_at timestamptz,
	extra jsonb
);

COMMENT ON TYPE smartlead_campaign_lead IS 'a lead in a campaign; fields of Smartlead without a column are in extra';
COMMENT ON COLUMN smartlead_campaign_lead.campaign_lead_map_id IS 'the id of this lead in this campaign; the master inbox calls it email_lead_map_id';
COMMENT ON COLUMN smartlead_campaign_lead.lead_id IS 'the id of the lead itself: what the functions take as lead_id';
COMMENT ON COLUMN smartlead_campaign_lead.status IS 'STARTED, INPROGRESS, COMPLETED, PAUSED, STOPPED, BLOCKED, or what Smartlead adds';
COMMENT ON COLUMN smartlead_campaign_lead.created_at IS 'when the lead was added to the campaign';

CREATE TYPE smartlead_lead_category AS (
	id bigint,
	name text,
	sentiment_type text,
	created_at timestamptz,
	extra jsonb
);

COMMENT ON TYPE smartlead_lead_category IS 'a category that leads can be given';
COMMENT ON COLUMN smartlead_lead_category.sentiment_type IS 'positive, negative, neutral or NULL';

CREATE FUNCTION smartlead_get_lead(
	email text,
	connection name DEFAULT NULL)
RETURNS SETOF smartlead_lead
AS 'MODULE_PATHNAME', 'smartlead_lookup' LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 100000 ROWS 1;

COMMENT ON FUNCTION smartlead_get_lead(text, name) IS
'the lead with that e-mail address, or no row. (GET /leads/)';

CREATE FUNCTION smartlead_get_lead(
	lead_id bigint,
	connection name DEFAULT NULL)
RETURNS SETOF smartlead_lead
AS 'MODULE_PATHNAME', 'smartlead_lookup' LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 100000 ROWS 1;

COMMENT ON FUNCTION smartlead_get_lead(bigint, name) IS
'the lead of that id, or no row. (GET /leads/{lead_id})';

CREATE FUNCTION smartlead_list_leads(
	campaign_id bigint,
	status text DEFAULT NULL,
	lead_category_id bigint DEFAULT NULL,
	email_status text DEFAULT NULL,
	created_after timestamptz DEFAULT NULL,
	last_sent_after timestamptz DEFAULT NULL,
	event_after timestamptz DEFAULT NULL,
	max_rows bigint DEFAULT NULL,
	connection name DEFAULT NULL)
RETURNS SETOF smartlead_campaign_lead
AS 'MODULE_PATHNAME', 'smartlead_listing' LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 100000 ROWS 1000;

COMMENT ON FUNCTION smartlead_list_leads(bigint, text, bigint, text, timestamptz, timestamptz, timestamptz, bigint, name) IS
'the leads of a campaign, all pages, filtered by Smartlead. status: STARTED, INPROGRESS, COMPLETED, PAUSED, STOPPED. email_status: is_opened, is_clicked, is_replied, is_bounced, is_unsubscribed, is_spam, is_accepted, not_replied, is_sender_bounced. (GET /campaigns/{campaign_id}/leads)';

CREATE FUNCTION smartlead_update_lead(
	campaign_id bigint,
	lead_id bigint,
	email text DEFAULT NULL,
	first_name text DEFAULT NULL,
	last_name text DEFAULT NULL,
	phone_number text DEFAULT NULL,
	company_name text DEFAULT NULL,
	website text DEFAULT NULL,
	location text DEFAULT NULL,
	linkedin_profile text DEFAULT NULL,
	company_url text DEFAULT NULL,
	custom_fields jsonb DEFAULT NULL,
	connection name DEFAULT NULL)
RETURNS boolean
AS 'MODULE_PATHNAME', 'smartlead_action' LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 100000;

COMMENT ON FUNCTION smartlead_update_lead(bigint, bigint, text, text, text, text, text, text, text, text, text, jsonb, name) IS
'changes the given fields of a lead, in all its campaigns; NULL leaves a field as it is. An empty text is sent as it is: whether Smartlead clears the field or refuses the text is not documented, and a refusal is an error. Without email, the address is read first, since Smartlead demands it. True, or an error. (POST /campaigns/{campaign_id}/leads/{lead_id})';

CREATE FUNCTION smartlead_update_lead_category(
	campaign_id bigint,
	lead_id bigint,
	category_id bigint,
	pause_lead boolean DEFAULT NULL,
	connection name DEFAULT NULL)
RETURNS boolean
AS 'MODULE_PATHNAME', 'smartlead_action' LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 100000;

COMMENT ON FUNCTION smartlead_update_lead_category(bigint, bigint, bigint, boolean, name) IS
'gives a lead in a campaign a category by its id; see smartlead_list_lead_categories. pause_lead pauses it as well. To take the category away use smartlead_clear_lead_category. (POST /campaigns/{campaign_id}/leads/{lead_id}/category)';

CREATE FUNCTION smartlead_update_lead_category(
	campaign_id bigint,
	lead_id bigint,
	category text,
	pause_lead boolean DEFAULT NULL,
	connection name DEFAULT NULL)
RETURNS boolean
AS 'MODULE_PATHNAME', 'smartlead_action' LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 100000;

COMMENT ON FUNCTION smartlead_update_lead_category(bigint, bigint, text, boolean, name) IS
'gives a lead in a campaign a category by its name, in any case; the name is looked up among the workspace''s categories first. (POST /campaigns/{campaign_id}/leads/{lead_id}/category)';

CREATE FUNCTION smartlead_clear_lead_category(
	campaign_id bigint,
	lead_id bigint,
	connection name DEFAULT NULL)
RETURNS boolean
AS 'MODULE_PATHNAME', 'smartlead_action' LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 100000;

COMMENT ON FUNCTION smartlead_clear_lead_category(bigint, bigint, name) IS
'takes its category from a lead in a campaign. (POST /campaigns/{campaign_id}/leads/{lead_id}/category)';

CREATE FUNCTION smartlead_pause_lead(
	campaign_id bigint,
	lead_id bigint,
	connection name DEFAULT NULL)
RETURNS boolean
AS 'MODULE_PATHNAME', 'smartlead_action' LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 100000;

COMMENT ON FUNCTION smartlead_pause_lead(bigint, bigint, name) IS
'pauses a lead in a campaign; pausing it again changes nothing. (POST /campaigns/{campaign_id}/leads/{lead_id}/pause)';

CREATE FUNCTION smartlead_resume_lead(
	campaign_id bigint,
	lead_id bigint,
	delay_days integer DEFAULT NULL,
	connection name DEFAULT NULL)
RETURNS boolean
AS 'MODULE_PATHNAME', 'smartlead_action' LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 100000;

COMMENT ON FUNCTION smartlead_resume_lead(bigint, bigint, integer, name) IS
'resumes a paused lead in a campaign, at once or after so many days. (POST /campaigns/{campaign_id}/leads/{lead_id}/resume)';

CREATE FUNCTION smartlead_delete_lead(
	campaign_id bigint,
	lead_id bigint,
	connection name DEFAULT NULL)
RETURNS boolean
AS 'MODULE_PATHNAME', 'smartlead_action' LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 100000;

COMMENT ON FUNCTION smartlead_delete_lead(bigint, bigint, name) IS
'removes a lead from a campaign, for good; if it was the lead''s only campaign, Smartlead may delete the lead itself. (DELETE /campaigns/{campaign_id}/leads/{lead_id})';

CREATE FUNCTION smartlead_unsubscribe_lead(
	lead_id bigint,
	connection name DEFAULT NULL)
RETURNS boolean
AS 'MODULE_PATHNAME', 'smartlead_action' LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 100000;

COMMENT ON FUNCTION smartlead_unsubscribe_lead(bigint, name) IS
'unsubscribes a lead from all campaigns, also later ones; Smartlead''s API can''t undo it. (POST /leads/{lead_id}/unsubscribe)';

CREATE FUNCTION smartlead_unsubscribe_campaign_lead(
	campaign_id bigint,
	lead_id bigint,
	connection name DEFAULT NULL)
RETURNS boolean
AS 'MODULE_PATHNAME', 'smartlead_action' LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 100000;

COMMENT ON FUNCTION smartlead_unsubscribe_campaign_lead(bigint, bigint, name) IS
'unsubscribes a lead from one campaign; NULL is an error, never "from all". (POST /campaigns/{campaign_id}/leads/{lead_id}/unsubscribe)';

CREATE FUNCTION smartlead_unsubscribe_lead(
	email text,
	connection name DEFAULT NULL)
RETURNS boolean
AS 'MODULE_PATHNAME', 'smartlead_action' LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 100000;

COMMENT ON FUNCTION smartlead_unsubscribe_lead(text, name) IS
'unsubscribes a lead from all campaigns, found by its address: the events of unsubscribing name no id. (GET /leads/, then POST /leads/{lead_id}/unsubscribe)';

CREATE FUNCTION smartlead_list_lead_categories(
	connection name DEFAULT NULL)
RETURNS SETOF smartlead_lead_category
AS 'MODULE_PATHNAME', 'smartlead_listing' LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 100000 ROWS 10;

COMMENT ON FUNCTION smartlead_list_lead_categories(name) IS
'the workspace''s lead categories, Smartlead''s own and those added. (GET /leads/fetch-categories)';

REVOKE ALL ON FUNCTION smartlead_get_lead(text, name) FROM PUBLIC;
REVOKE ALL ON FUNCTION smartlead_get_lead(bigint, name) FROM PUBLIC;
REVOKE ALL ON FUNCTION smartlead_list_leads(bigint, text, bigint, text, timestamptz, timestamptz, timestamptz, bigint, name) FROM PUBLIC;
REVOKE ALL ON FUNCTION smartlead_update_lead(bigint, bigint, text, text, text, text, text, text, text, text, text, jsonb, name) FROM PUBLIC;
REVOKE ALL ON FUNCTION smartlead_update_lead_category(bigint, bigint, bigint, boolean, name) FROM PUBLIC;
REVOKE ALL ON FUNCTION smartlead_update_lead_category(bigint, bigint, text, boolean, name) FROM PUBLIC;
REVOKE ALL ON FUNCTION smartlead_clear_lead_category(bigint, bigint, name) FROM PUBLIC;
REVOKE ALL ON FUNCTION smartlead_pause_lead(bigint, bigint, name) FROM PUBLIC;
REVOKE ALL ON FUNCTION smartlead_resume_lead(bigint, bigint, integer, name) FROM PUBLIC;
REVOKE ALL ON FUNCTION smartlead_delete_lead(bigint, bigint, name) FROM PUBLIC;
REVOKE ALL ON FUNCTION smartlead_unsubscribe_lead(bigint, name) FROM PUBLIC;
REVOKE ALL ON FUNCTION smartlead_unsubscribe_campaign_lead(bigint, bigint, name) FROM PUBLIC;
REVOKE ALL ON FUNCTION smartlead_unsubscribe_lead(text, name) FROM PUBLIC;
REVOKE ALL ON FUNCTION smartlead_list_lead_categories(name) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION smartlead_get_lead(text, name) TO smartlead_user;
GRANT EXECUTE ON FUNCTION smartlead_get_lead(bigint, name) TO smartlead_user;
GRANT EXECUTE ON FUNCTION smartlead_list_leads(bigint, text, bigint, text, timestamptz, timestamptz, timestamptz, bigint, name) TO smartlead_user;
GRANT EXECUTE ON FUNCTION smartlead_update_lead(bigint, bigint, text, text, text, text, text, text, text, text, text, jsonb, name) TO smartlead_user;
GRANT EXECUTE ON FUNCTION smartlead_update_lead_category(bigint, bigint, bigint, boolean, name) TO smartlead_user;
GRANT EXECUTE ON FUNCTION smartlead_update_lead_category(bigint, bigint, text, boolean, name) TO smartlead_user;
GRANT EXECUTE ON FUNCTION smartlead_clear_lead_category(bigint, bigint, name) TO smartlead_user;
GRANT EXECUTE ON FUNCTION smartlead_pause_lead(bigint, bigint, name) TO smartlead_user;
GRANT EXECUTE ON FUNCTION smartlead_resume_lead(bigint, bigint, integer, name) TO smartlead_user;
GRANT EXECUTE ON FUNCTION smartlead_delete_lead(bigint, bigint, name) TO smartlead_user;
GRANT EXECUTE ON FUNCTION smartlead_unsubscribe_lead(bigint, name) TO smartlead_user;
GRANT EXECUTE ON FUNCTION smartlead_unsubscribe_campaign_lead(bigint, bigint, name) TO smartlead_user;
GRANT EXECUTE ON FUNCTION smartlead_unsubscribe_lead(text, name) TO smartlead_user;
GRANT EXECUTE ON FUNCTION smartlead_list_lead_categories(name) TO smartlead_user;
