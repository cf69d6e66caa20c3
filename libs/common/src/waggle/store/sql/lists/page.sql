-- These tasks, the newest first, without payloads; fewer if their results are too large together. (A result's size in the table is its size, unless it is
-- compressed.)
WITH listed AS MATERIALIZED (
    SELECT id, type, status, priority, description, created, updated, retry_count, max_retries, metadata, queue, run_at, attempt, timeout,
           completed_at, deadline, error, result, started_at, worker_id, unique_key, lost_count
    FROM waggle.tasks WHERE id = ANY (:ids::uuid[])
), weighed AS (
    SELECT listed.*, row_number() OVER newest AS number,
           sum(CASE WHEN pg_column_compression(result) IS NULL THEN coalesce(pg_column_size(result), 0) ELSE octet_length(result::text) END) OVER newest AS weight
    FROM listed WINDOW newest AS (ORDER BY id DESC)
)
SELECT * FROM weighed WHERE number = 1 OR weight <= :bytes ORDER BY id DESC;
