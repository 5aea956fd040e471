/*
 * E-mail accounts: the mailboxes that campaigns send from.
 */
CREATE TYPE smartlead_email_account AS (
	id bigint,
	user_id bigint,
	from_name text,
	from_email text,
	username text,
	type text,
	smtp_host text,
	smtp_port integer,
	smtp_port_type text,
	imap_host text,
	imap_port integer,
	imap_port_type text,
	imap_username text,
	is_different_imap_account boolean,
	message_per_day integer,
	daily_sent_count integer,
	min_time_to_wait_in_mins integer,
	different_reply_to_address text,
	signature text,
	custom_tracking_domain text,
	bcc_email text,
	is_smtp_success boolean,
	is_imap_success boolean,
	smtp_failure_error text,
	imap_failure_error text,
	is_suspended boolean,
	client_id bigint,
	campaign_count integer,
	campaign_ids bigint[],
	tags jsonb,
	warmup_details jsonb,
	created_at timestamptz,
	updated_at timestamptz,
	extra jsonb
);

COMMENT ON TYPE smartlead_email_account IS 'a mailbox that campaigns send from. Its passwords, which Smartlead sends as well, are dropped as the answer is read';
COMMENT ON COLUMN smartlead_email_account.type IS 'SMTP, GMAIL, ZOHO, OUTLOOK, or what Smartlead adds';
COMMENT ON COLUMN smartlead_email_account.message_per_day IS 'the most e-mails that it sends in a day';
COMMENT ON COLUMN smartlead_email_account.campaign_ids IS 'only where fetch_campaigns was given';
COMMENT ON COLUMN smartlead_email_account.tags IS 'only where fetch_tags was given, or include_tags among a campaign''s';

CREATE FUNCTION smartlead_get_email_account(
	email_account_id bigint,
	fetch_campaigns boolean DEFAULT NULL,
	fetch_tags boolean DEFAULT NULL,
	connection name DEFAULT NULL)
RETURNS SETOF smartlead_email_account
AS 'MODULE_PATHNAME', 'smartlead_lookup' LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 100000 ROWS 1;

COMMENT ON FUNCTION smartlead_get_email_account(bigint, boolean, boolean, name) IS
'the e-mail account of that id, or no row. (GET /email-accounts/{email_account_id}/)';

CREATE FUNCTION smartlead_list_email_accounts(
	is_in_use boolean DEFAULT NULL,
	warmup_status text DEFAULT NULL,
	is_smtp_success boolean DEFAULT NULL,
	is_warmup_blocked boolean DEFAULT NULL,
	type text DEFAULT NULL,
	username text DEFAULT NULL,
	client_id bigint DEFAULT NULL,
	fetch_campaigns boolean DEFAULT NULL,
	max_rows bigint DEFAULT NULL,
	connection name DEFAULT NULL)
RETURNS SETOF smartlead_email_account
AS 'MODULE_PATHNAME', 'smartlead_listing' LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 100000 ROWS 100;

COMMENT ON FUNCTION smartlead_list_email_accounts(boolean, text, boolean, boolean, text, text, bigint, boolean, bigint, name) IS
'all e-mail accounts of the workspace, all pages, filtered by Smartlead. warmup_status: ACTIVE, INACTIVE. type: GMAIL, OUTLOOK, SMTP. username: a part of it. (GET /email-accounts/)';

CREATE FUNCTION smartlead_list_campaign_email_accounts(
	campaign_id bigint,
	include_tags boolean DEFAULT NULL,
	max_rows bigint DEFAULT NULL,
	connection name DEFAULT NULL)
RETURNS SETOF smartlead_email_account
AS 'MODULE_PATHNAME', 'smartlead_listing' LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 100000 ROWS 10;

COMMENT ON FUNCTION smartlead_list_campaign_email_accounts(bigint, boolean, bigint, name) IS
'the e-mail accounts that a campaign sends from. (GET /campaigns/{campaign_id}/email-accounts)';

CREATE FUNCTION smartlead_update_email_account(
	email_account_id bigint,
	message_per_day integer DEFAULT NULL,
	from_name text DEFAULT NULL,
	custom_tracking_domain text DEFAULT NULL,
	bcc_email text DEFAULT NULL,
	signature text DEFAULT NULL,
	client_id bigint DEFAULT NULL,
	min_time_to_wait_in_mins integer DEFAULT NULL,
	is_suspended boolean DEFAULT NULL,
	connection name DEFAULT NULL)
RETURNS boolean
AS 'MODULE_PATHNAME', 'smartlead_action' LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 100000;

COMMENT ON FUNCTION smartlead_update_email_account(bigint, integer, text, text, text, text, bigint, integer, boolean, name) IS
'changes the given settings of an e-mail account, called as they are read back; NULL leaves one as it is. To take the account from its client use smartlead_clear_email_account_client. (POST /email-accounts/{email_account_id})';

CREATE FUNCTION smartlead_clear_email_account_client(
	email_account_id bigint,
	connection name DEFAULT NULL)
RETURNS boolean
AS 'MODULE_PATHNAME', 'smartlead_action' LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 100000;

COMMENT ON FUNCTION smartlead_clear_email_account_client(bigint, name) IS
'takes an e-mail account from its client. (POST /email-accounts/{email_account_id})';

CREATE FUNCTION smartlead_add_campaign_email_accounts(
	campaign_id bigint,
	email_account_ids bigint[],
	auto_adjust_warmup boolean DEFAULT NULL,
	connection name DEFAULT NULL)
RETURNS boolean
AS 'MODULE_PATHNAME', 'smartlead_action' LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 100000;

COMMENT ON FUNCTION smartlead_add_campaign_email_accounts(bigint, bigint[], boolean, name) IS
'lets a campaign send from these e-mail accounts as well; adding one again changes nothing. auto_adjust_warmup lets Smartlead fit their warmup to it. (POST /campaigns/{campaign_id}/email-accounts)';

CREATE FUNCTION smartlead_remove_campaign_email_accounts(
	campaign_id bigint,
	email_account_ids bigint[],
	connection name DEFAULT NULL)
RETURNS boolean
AS 'MODULE_PATHNAME', 'smartlead_action' LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 100000;

COMMENT ON FUNCTION smartlead_remove_campaign_email_accounts(bigint, bigint[], name) IS
'takes these e-mail accounts from a campaign; the last one of an active campaign is refused. (DELETE /campaigns/{campaign_id}/email-accounts)';

REVOKE ALL ON FUNCTION smartlead_get_email_account(bigint, boolean, boolean, name) FROM PUBLIC;
REVOKE ALL ON FUNCTION smartlead_list_email_accounts(boolean, text, boolean, boolean, text, text, bigint, boolean, bigint, name) FROM PUBLIC;
REVOKE ALL ON FUNCTION smartlead_list_campaign_email_accounts(bigint, boolean, bigint, name) FROM PUBLIC;
REVOKE ALL ON FUNCTION smartlead_update_email_account(bigint, integer, text, text, text, text, bigint, integer, boolean, name) FROM PUBLIC;
REVOKE ALL ON FUNCTION smartlead_clear_email_account_client(bigint, name) FROM PUBLIC;
REVOKE ALL ON FUNCTION smartlead_add_campaign_email_accounts(bigint, bigint[], boolean, name) FROM PUBLIC;
REVOKE ALL ON FUNCTION smartlead_remove_campaign_email_accounts(bigint, bigint[], name) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION smartlead_get_email_account(bigint, boolean, boolean, name) TO smartlead_user;
GRANT EXECUTE ON FUNCTION smartlead_list_email_accounts(boolean, text, boolean, boolean, text, text, bigint, boolean, bigint, name) TO smartlead_user;
GRANT EXECUTE ON FUNCTION smartlead_list_campaign_email_accounts(bigint, boolean, bigint, name) TO smartlead_user;
GRANT EXECUTE ON FUNCTION smartlead_update_email_account(bigint, integer, text, text, text, text, bigint, integer, boolean, name) TO smartlead_user;
GRANT EXECUTE ON FUNCTION smartlead_clear_email_account_client(bigint, name) TO smartlead_user;
GRANT EXECUTE ON FUNCTION smartlead_add_campaign_email_accounts(bigint, bigint[], boolean, name) TO smartlead_user;
GRANT EXECUTE ON FUNCTION smartlead_remove_campaign_email_accounts(bigint, bigint[], name) TO smartlead_user;
