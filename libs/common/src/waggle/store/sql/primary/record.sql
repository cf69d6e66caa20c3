-- Record that this server is the primary from now on. Of several that see it at once, the first one's time stands.
INSERT INTO waggle.primary_server AS p (system_identifier, timeline)
SELECT system_identifier, ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int FROM pg_control_system()
ON CONFLICT (singleton) DO UPDATE
SET system_identifier = excluded.system_identifier, timeline = excluded.timeline, started = excluded.started, since = excluded.since
WHERE (p.system_identifier, p.timeline, p.started) <> (excluded.system_identifier, excluded.timeline, excluded.started);
