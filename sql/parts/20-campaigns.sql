/*
 * Campaigns.
 */
CREATE TYPE smartlead_campaign AS (
	id bigint,
	user_id bigint,
	name text,
	status text,
	created_at timestamptz,
	updated_at timestamptz,
	client_id bigint,
	parent_campaign_id bigint,
	track_settings text[],
	scheduler_cron_value jsonb,
	min_time_btwn_emails integer,
	max_leads_per_day integer,
	schedule_start_time timestamptz,
	stop_lead_settings text,
	follow_up_percentage integer,
	unsubscribe_text text,
	enable_ai_esp_matching boolean,
	send_as_plain_text boolean,
	tags jsonb,
	extra jsonb
);

COMMENT ON TYPE smartlead_campaign IS 'a campaign; fields of Smartlead without a column are in extra';
COMMENT ON COLUMN smartlead_campaign.status IS 'DRAFTED, ACTIVE, PAUSED, STOPPED, COMPLETED, ARCHIVED, or what Smartlead adds';
COMMENT ON COLUMN smartlead_campaign.parent_campaign_id IS 'of a subsequence: the campaign that it belongs to';
COMMENT ON COLUMN smartlead_campaign.min_time_btwn_emails IS 'minutes between two e-mails';
COMMENT ON COLUMN smartlead_campaign.tags IS 'only where include_tags was given';

CREATE FUNCTION smartlead_create_campaign(
	name text,
	client_id bigint DEFAULT NULL,
	connection name DEFAULT NULL)
RETURNS smartlead_campaign
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 100000;

COMMENT ON FUNCTION smartlead_create_campaign(text, bigint, name) IS
'creates a campaign in status DRAFTED and returns it. Names are not unique at Smartlead: called twice, it makes two. (POST /campaigns/create)';

CREATE FUNCTION smartlead_delete_campaign(
	campaign_id bigint,
	connection name DEFAULT NULL)
RETURNS boolean
AS 'MODULE_PATHNAME', 'smartlead_action' LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 100000;

COMMENT ON FUNCTION smartlead_delete_campaign(bigint, name) IS
'deletes a campaign; an active one is refused. True, or an error. (DELETE /campaigns/{campaign_id})';

CREATE FUNCTION smartlead_get_campaign(
	campaign_id bigint,
	include_tags boolean DEFAULT NULL,
	connection name DEFAULT NULL)
RETURNS SETOF smartlead_campaign
AS 'MODULE_PATHNAME', 'smartlead_lookup' LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 100000 ROWS 1;

COMMENT ON FUNCTION smartlead_get_campaign(bigint, boolean, name) IS
'the campaign of that id, or no row. (GET /campaigns/{campaign_id})';

CREATE FUNCTION smartlead_list_campaigns(
	client_id bigint DEFAULT NULL,
	include_tags boolean DEFAULT NULL,
	max_rows bigint DEFAULT NULL,
	connection name DEFAULT NULL)
RETURNS SETOF smartlead_campaign
AS 'MODULE_PATHNAME', 'smartlead_listing' LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 100000 ROWS 100;

COMMENT ON FUNCTION smartlead_list_campaigns(bigint, boolean, bigint, name) IS
'all campaigns, newest first, or those of one client; subsequences are campaigns with a parent_campaign_id. (GET /campaigns/)';

REVOKE ALL ON FUNCTION smartlead_create_campaign(text, bigint, name) FROM PUBLIC;
REVOKE ALL ON FUNCTION smartlead_delete_campaign(bigint, name) FROM PUBLIC;
REVOKE ALL ON FUNCTION smartlead_get_campaign(bigint, boolean, name) FROM PUBLIC;
REVOKE ALL ON FUNCTION smartlead_list_campaigns(bigint, boolean, bigint, name) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION smartlead_create_campaign(text, bigint, name) TO smartlead_user;
GRANT EXECUTE ON FUNCTION smartlead_delete_campaign(bigint, name) TO smartlead_user;
GRANT EXECUTE ON FUNCTION smartlead_get_campaign(bigint, boolean, name) TO smartlead_user;
GRANT EXECUTE ON FUNCTION smartlead_list_campaigns(bigint, boolean, bigint, name) TO smartlead_user;
