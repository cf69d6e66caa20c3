-- Live and dead rows of the hot tables, as Postgres estimates them.
SELECT relname AS table, n_live_tup AS live, n_dead_tup AS dead FROM pg_stat_user_tables
WHERE schemaname = CAST(:schema AS text) AND relname IN ('tasks', 'task_attempts', 'workers', 'idempotency_keys');
