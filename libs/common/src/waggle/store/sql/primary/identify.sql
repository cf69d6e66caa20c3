-- Which server a connection leads to; a standby has no timeline of its own.
SELECT c.system_identifier, CASE WHEN NOT pg_is_in_recovery() THEN ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int END AS timeline
FROM pg_control_system() c;
