-- What Postgres says of itself that hurts a queue. Few roles see the snapshots of others (pg_read_all_stats); those of Waggle's own are always seen.
SELECT pg_database_size(current_database()) AS bytes,
       current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int AS connections_most,
       (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') AS connections,
       coalesce((SELECT max(age(s.xmin)) FROM pg_replication_slots s), 0)::bigint AS slot_transactions;
