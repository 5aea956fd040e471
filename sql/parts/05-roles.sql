/*
 * Two roles, for the whole cluster: who may call Smartlead, and who may set up what runs by itself.
 * They outlive the extension, as roles do. One that is there already may have been made for something
 * else, and gets powers here: that is told, and a superuser is refused. What is granted below, and
 * the policies, hold the roles themselves: they may be renamed afterwards.
 */
DO $$
DECLARE
	wanted record;
	present record;
	told text;
BEGIN
	FOR wanted IN
		SELECT r.name, r.purpose FROM (VALUES
			(1, 'smartlead_user', 'may call Smartlead through the extension smartlead, on connections that it has USAGE and an API key for'),
			(2, 'smartlead_admin', 'may besides set up webhooks, automations and workers of the extension smartlead, and send any request')
		) AS r (number, name, purpose) ORDER BY r.number
	LOOP
		SELECT r.rolsuper, r.rolcanlogin, r.rolcreaterole, r.rolbypassrls,
		       -- shobj_description() of old servers is in SQL, and takes its operators from the search_path.
		       (SELECT d.description OPERATOR(pg_catalog.~~) '%extension smartlead%' FROM pg_catalog.pg_shdescription d
		         WHERE d.objoid OPERATOR(pg_catalog.=) r.oid
		           AND d.classoid OPERATOR(pg_catalog.=) 'pg_catalog.pg_authid'::pg_catalog.regclass::pg_catalog.oid) AS is_ours,
		       (SELECT pg_catalog.string_agg(pg_catalog.quote_ident(m.rolname::pg_catalog.text), ', ' ORDER BY m.rolname)
		          FROM pg_catalog.pg_auth_members a JOIN pg_catalog.pg_roles m ON m.oid OPERATOR(pg_catalog.=) a.member
		         WHERE a.roleid OPERATOR(pg_catalog.=) r.oid AND m.rolname OPERATOR(pg_catalog.<>) 'smartlead_admin') AS members,
		       (SELECT pg_catalog.string_agg(pg_catalog.quote_ident(m.rolname::pg_catalog.text), ', ' ORDER BY m.rolname)
		          FROM pg_catalog.pg_auth_members a JOIN pg_catalog.pg_roles m ON m.oid OPERATOR(pg_catalog.=) a.roleid
		         WHERE a.member OPERATOR(pg_catalog.=) r.oid AND m.rolname OPERATOR(pg_catalog.<>) 'smartlead_user') AS belongs_to
		  INTO present
		  FROM pg_catalog.pg_roles r
		 WHERE r.rolname OPERATOR(pg_catalog.=) wanted.name::pg_catalog.name;
		IF NOT FOUND THEN
			EXECUTE pg_catalog.format('CREATE ROLE %I NOLOGIN', wanted.name);
			EXECUTE pg_catalog.format('COMMENT ON ROLE %I IS %L', wanted.name, wanted.purpose);
			CONTINUE;
		END IF;
		IF present.rolsuper THEN
			RAISE EXCEPTION 'role "%" exists already and is a superuser', wanted.name
				USING ERRCODE = 'invalid_role_specification',
				      DETAIL = 'The extension grants powers to that role, and stores events as that role.',
				      HINT = pg_catalog.format('Rename it, or make it none: ALTER ROLE %I NOSUPERUSER.', wanted.name);
		END IF;
		told := pg_catalog.concat_ws(' ',
			CASE WHEN present.rolcanlogin THEN 'It may log in.' END,
			CASE WHEN present.rolcreaterole THEN 'It may create roles.' END,
			CASE WHEN present.rolbypassrls THEN 'It bypasses row security.' END,
			'Its members: ' OPERATOR(pg_catalog.||) present.members OPERATOR(pg_catalog.||) '.',
			'It is a member of: ' OPERATOR(pg_catalog.||) present.belongs_to OPERATOR(pg_catalog.||) '.');
		IF present.is_ours IS NOT TRUE OR present.rolcanlogin OR present.rolcreaterole OR present.rolbypassrls
			OR present.belongs_to IS NOT NULL OR present.members IS NOT NULL THEN
			RAISE WARNING 'role "%" exists already, and what the extension smartlead allows is granted to it', wanted.name
				USING DETAIL = CASE told WHEN '' THEN 'It has no members.' ELSE told END,
				      HINT = CASE WHEN present.is_ours
				          THEN 'It was made by this extension, maybe in another database. Revoke it from those who shall not use it here: it counts in all databases.'
				          ELSE 'If it was made for something else: drop the extension, rename the role, and create the extension again.' END;
		END IF;
	END LOOP;
	IF NOT pg_catalog.pg_has_role('smartlead_admin', 'smartlead_user', 'MEMBER') THEN
		GRANT smartlead_user TO smartlead_admin;
	END IF;
END
$$;
