\set ECHO none
\i test/sql/include/connect.sql
\set ECHO all
-- The extension is there, and the preamble made one connection.
SELECT extname, extversion FROM pg_extension WHERE extname = 'smartlead';
SELECT srvname, srvoptions IS NOT NULL AS has_options FROM pg_foreign_server ORDER BY 1;
