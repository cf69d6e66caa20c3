-- How many sessions, of this database or of standbys, this role may not look into: pg_read_all_stats would let it.
SELECT count(*) FROM pg_stat_activity a
WHERE (a.datname = current_database() OR a.backend_type = 'walsender') AND NOT pg_has_role('pg_read_all_stats', 'USAGE') AND NOT pg_has_role(a.usesysid, 'USAGE');
