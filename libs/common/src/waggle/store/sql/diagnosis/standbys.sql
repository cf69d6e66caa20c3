-- Standbys that stream from this server; a role without pg_monitor sees that they are there, and not how they are.
SELECT application_name AS name, state, sync_state FROM pg_stat_replication;
