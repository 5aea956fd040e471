/*
 * Two roles, for the whole cluster: who may call Smartlead, and who may set up what runs by itself.
 * They outlive the extension, as roles do; a role that exists already keeps its members.
 */
DO $$
BEGIN
	IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'smartlead_user') THEN
		CREATE ROLE smartlead_user NOLOGIN;
		COMMENT ON ROLE smartlead_user IS 'may call Smartlead through the extension smartlead, on connections that it has USAGE and an API key for';
	END IF;
	IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'smartlead_admin') THEN
		CREATE ROLE smartlead_admin NOLOGIN;
		COMMENT ON ROLE smartlead_admin IS 'may besides set up webhooks, automations and workers of the extension smartlead, and send any request';
		GRANT smartlead_user TO smartlead_admin;
	END IF;
END
$$;
