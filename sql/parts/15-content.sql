
-- Tables that sessions and workers keep in memory

CREATE FUNCTION @extschema@.smartlead_content_changed()
RETURNS trigger
AS 'MODULE_PATHNAME' LANGUAGE C;

COMMENT ON FUNCTION @extschema@.smartlead_content_changed() IS
'tells those who keep the table''s rows in memory that they have changed';

REVOKE ALL ON FUNCTION @extschema@.smartlead_content_changed() FROM PUBLIC;
