
-- Roles in tables

/* A role that may be missing where a dump is loaded. */
CREATE TYPE @extschema@.smartlead_role;

CREATE FUNCTION @extschema@.smartlead_role_in(cstring)
RETURNS @extschema@.smartlead_role
AS 'MODULE_PATHNAME' LANGUAGE C STABLE STRICT PARALLEL SAFE;
CREATE FUNCTION @extschema@.smartlead_role_out(@extschema@.smartlead_role)
RETURNS cstring
AS 'MODULE_PATHNAME' LANGUAGE C STABLE STRICT PARALLEL SAFE;
CREATE FUNCTION @extschema@.smartlead_role_recv(internal)
RETURNS @extschema@.smartlead_role
AS 'MODULE_PATHNAME' LANGUAGE C STABLE STRICT PARALLEL SAFE;
CREATE FUNCTION @extschema@.smartlead_role_send(@extschema@.smartlead_role)
RETURNS bytea
AS 'MODULE_PATHNAME' LANGUAGE C STABLE STRICT PARALLEL SAFE;

CREATE TYPE @extschema@.smartlead_role (
	INPUT = @extschema@.smartlead_role_in,
	OUTPUT = @extschema@.smartlead_role_out,
	RECEIVE = @extschema@.smartlead_role_recv,
	SEND = @extschema@.smartlead_role_send,
	LIKE = pg_catalog.oid);
CREATE CAST (@extschema@.smartlead_role AS pg_catalog.oid) WITHOUT FUNCTION AS IMPLICIT;
CREATE CAST (@extschema@.smartlead_role AS pg_catalog.regrole) WITHOUT FUNCTION AS ASSIGNMENT;
CREATE CAST (pg_catalog.oid AS @extschema@.smartlead_role) WITHOUT FUNCTION AS ASSIGNMENT;
CREATE CAST (pg_catalog.regrole AS @extschema@.smartlead_role) WITHOUT FUNCTION AS ASSIGNMENT;

COMMENT ON TYPE @extschema@.smartlead_role IS
'A role, like regrole; a name that no role has is read as "-", no role, with a warning.';
COMMENT ON FUNCTION @extschema@.smartlead_role_in(cstring) IS 'reads and writes values of the type smartlead_role';
COMMENT ON FUNCTION @extschema@.smartlead_role_out(@extschema@.smartlead_role) IS 'reads and writes values of the type smartlead_role';
COMMENT ON FUNCTION @extschema@.smartlead_role_recv(internal) IS 'reads and writes values of the type smartlead_role';
COMMENT ON FUNCTION @extschema@.smartlead_role_send(@extschema@.smartlead_role) IS 'reads and writes values of the type smartlead_role';

REVOKE ALL ON FUNCTION @extschema@.smartlead_role_in(cstring) FROM PUBLIC;
REVOKE ALL ON FUNCTION @extschema@.smartlead_role_out(@extschema@.smartlead_role) FROM PUBLIC;
REVOKE ALL ON FUNCTION @extschema@.smartlead_role_recv(internal) FROM PUBLIC;
REVOKE ALL ON FUNCTION @extschema@.smartlead_role_send(@extschema@.smartlead_role) FROM PUBLIC;
