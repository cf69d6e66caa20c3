-- Which server this is, its time, and since when it is the primary; null while nobody has recorded it. The timeline is that of the write position:
-- pg_control_checkpoint() shows the old one for minutes after a promotion. A standby refuses the statement: it cannot read an unlogged table.
SELECT c.system_identifier, w.timeline, now() AS now,
       (SELECT p.since FROM waggle.primary_server p
        WHERE p.system_identifier = c.system_identifier AND p.timeline = w.timeline AND p.started = pg_postmaster_start_time()) AS since
FROM pg_control_system() c, (SELECT ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int AS timeline) w;
