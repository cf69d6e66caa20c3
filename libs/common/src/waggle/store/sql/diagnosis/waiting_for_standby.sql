-- Sessions whose commit waits for a synchronous standby, and for how many seconds the longest has.
SELECT count(*) AS sessions, coalesce(extract(epoch FROM max(now() - query_start)), 0)::float8 AS seconds
FROM pg_stat_activity WHERE wait_event = 'SyncRep';
