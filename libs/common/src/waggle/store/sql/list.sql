-- These tasks, the newest first, without payloads; fewer where their results get too large together (octet_length reads only a result's size, not the
-- result).
WITH listed AS MATERIALIZED (
    SELECT id, type, status, priority, description, created, updated, retry_count, max_retries, metadata, queue, run_at, attempt, timeout,
           completed_at, deadline, error, result, started_at, worker_id, unique_key, lost_count
    FROM tasks WHERE id = ANY (:ids::uuid[])
), weighed AS (
    SELECT listed.*, row_number() OVER newest AS number, sum(coalesce(octet_length(result::text), 0)) OVER newest AS weight
    FROM listed WINDOW newest AS (ORDER BY id DESC)
)
SELECT * FROM weighed WHERE number = 1 OR weight <= :bytes ORDER BY id DESC;
