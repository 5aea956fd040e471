
-- Statistics

CREATE FUNCTION @extschema@.smartlead_request_counters(
    OUT server oid,
    OUT endpoint text,
    OUT calls bigint,
    OUT errors bigint,
    OUT retries bigint,
    OUT throttled bigint,
    OUT throttled_ms double precision,
    OUT bytes_sent bigint,
    OUT bytes_received bigint,
    OUT total_ms double precision,
    OUT max_ms double precision,
    OUT last_call_at timestamptz)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'smartlead_request_counters'
LANGUAGE C STRICT VOLATILE PARALLEL RESTRICTED;

COMMENT ON FUNCTION @extschema@.smartlead_request_counters() IS
'The counters behind smartlead_stat_requests. One server and endpoint may have more than one row: add them up.';

CREATE VIEW @extschema@.smartlead_stat_requests WITH (security_barrier = true) AS
SELECT s.srvname AS connection,
       c.endpoint,
       sum(c.calls)::bigint AS calls,
       sum(c.errors)::bigint AS errors,
       sum(c.retries)::bigint AS retries,
       sum(c.throttled)::bigint AS throttled,
       sum(c.throttled_ms) AS throttled_ms,
       sum(c.bytes_sent)::bigint AS bytes_sent,
       sum(c.bytes_received)::bigint AS bytes_received,
       sum(c.total_ms) / nullif(sum(c.calls)::bigint, 0)::double precision AS mean_ms,
       max(c.max_ms) AS max_ms,
       max(c.last_call_at) AS last_call_at
  FROM @extschema@.smartlead_request_counters() c
  LEFT JOIN pg_catalog.pg_foreign_server s ON s.oid = c.server
 GROUP BY c.server, s.srvname, c.endpoint;

COMMENT ON VIEW @extschema@.smartlead_stat_requests IS
'Calls to Smartlead from this database since the last restart or reset, per connection and endpoint; of this session alone when smartlead is not in shared_preload_libraries. The endpoint "others", without a connection, counts what found no place in the table, of any database.';
COMMENT ON COLUMN @extschema@.smartlead_stat_requests.connection IS
'The foreign server; null once it is dropped.';
COMMENT ON COLUMN @extschema@.smartlead_stat_requests.endpoint IS
'The action at Smartlead, or "request" for smartlead_request().';
COMMENT ON COLUMN @extschema@.smartlead_stat_requests.calls IS
'Finished calls; one that was sent again counts once.';
COMMENT ON COLUMN @extschema@.smartlead_stat_requests.errors IS
'Calls that failed.';
COMMENT ON COLUMN @extschema@.smartlead_stat_requests.retries IS
'Requests that were sent again within a call.';
COMMENT ON COLUMN @extschema@.smartlead_stat_requests.throttled IS
'Calls that waited for the rate limit, the connection''s own or Smartlead''s.';
COMMENT ON COLUMN @extschema@.smartlead_stat_requests.throttled_ms IS
'Milliseconds that calls waited for the rate limit.';
COMMENT ON COLUMN @extschema@.smartlead_stat_requests.bytes_sent IS
'Bytes sent to Smartlead.';
COMMENT ON COLUMN @extschema@.smartlead_stat_requests.bytes_received IS
'Bytes received from Smartlead.';
COMMENT ON COLUMN @extschema@.smartlead_stat_requests.mean_ms IS
'Mean milliseconds of a call, without the waits for the rate limit and between attempts.';
COMMENT ON COLUMN @extschema@.smartlead_stat_requests.max_ms IS
'The longest call in milliseconds, without those waits.';
COMMENT ON COLUMN @extschema@.smartlead_stat_requests.last_call_at IS
'When the last call finished.';

CREATE FUNCTION @extschema@.smartlead_stat_reset()
RETURNS void
AS 'MODULE_PATHNAME', 'smartlead_stat_reset'
LANGUAGE C STRICT VOLATILE PARALLEL RESTRICTED;

COMMENT ON FUNCTION @extschema@.smartlead_stat_reset() IS
'Sets the statistics of this database to zero.';

REVOKE ALL ON FUNCTION @extschema@.smartlead_request_counters() FROM PUBLIC;
REVOKE ALL ON FUNCTION @extschema@.smartlead_stat_reset() FROM PUBLIC;
REVOKE ALL ON @extschema@.smartlead_stat_requests FROM PUBLIC;
GRANT EXECUTE ON FUNCTION @extschema@.smartlead_request_counters() TO smartlead_user;
GRANT SELECT ON @extschema@.smartlead_stat_requests TO smartlead_user;
GRANT EXECUTE ON FUNCTION @extschema@.smartlead_stat_reset() TO smartlead_admin;
