-- Who holds back the cleaning of dead rows in our tables: open transactions of this database, prepared ones, replication slots, and queries of standbys
-- that report them (hot_standby_feedback). What only holds back system tables is left out: another database's transactions, catalog_xmin.
-- The age is in seconds where Postgres tells it, and in transactions since. Other roles' transactions are only seen with pg_read_all_stats.
SELECT 'session' AS kind, a.pid::text AS name, a.usename::text AS role, a.application_name AS application, a.datname::text AS database, a.state,
       extract(epoch FROM now() - a.xact_start)::float8 AS seconds, greatest(age(a.backend_xmin), age(a.backend_xid)) AS transactions
FROM pg_stat_activity a
WHERE a.datname = current_database() AND (a.backend_xmin IS NOT NULL OR a.backend_xid IS NOT NULL) AND a.pid <> pg_backend_pid()
  AND a.backend_type NOT IN ('autovacuum worker', 'parallel worker')
  AND NOT EXISTS (SELECT FROM pg_stat_progress_vacuum v WHERE v.pid = a.pid)
UNION ALL
SELECT 'prepared transaction', p.gid, p.owner::text, NULL, p.database::text, 'prepared', extract(epoch FROM now() - p.prepared)::float8, age(p.transaction)
FROM pg_prepared_xacts p WHERE p.database = current_database()
UNION ALL
SELECT 'replication slot', s.slot_name::text, NULL, NULL, NULL, CASE WHEN s.active THEN 'active' ELSE 'inactive' END,
       extract(epoch FROM now() - (to_jsonb(s) ->> 'inactive_since')::timestamptz)::float8, age(s.xmin)  -- the column is new in Postgres 17
FROM pg_replication_slots s WHERE s.xmin IS NOT NULL
UNION ALL
SELECT 'standby', r.pid::text, r.usename::text, r.application_name, NULL, r.state, NULL, age(r.backend_xmin)
FROM pg_stat_replication r WHERE r.backend_xmin IS NOT NULL AND NOT EXISTS (SELECT FROM pg_replication_slots s WHERE s.active_pid = r.pid);
