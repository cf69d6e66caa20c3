-- These tasks, in the order of their ids in the list, without payloads; fewer if their results are too large together. (A result's size in the table is its size, unless it is
-- compressed.)
WITH listed AS MATERIALIZED (
    SELECT id, type, status, priority, description, created, updated, retry_count, max_retries, metadata, queue, run_at, attempt, timeout,
           completed_at, deadline, error, result, started_at, worker_id, unique_key, lost_count,
           array_position(:ids::uuid[], id) AS place
    FROM waggle.tasks WHERE id = ANY (:ids::uuid[])
), weighed AS (
    SELECT listed.*, row_number() OVER ordered AS number,
           sum(CASE WHEN pg_column_compression(result) IS NULL THEN coalesce(pg_column_size(result), 0) ELSE octet_length(result::text) END) OVER ordered AS weight
    FROM listed WINDOW ordered AS (ORDER BY place)
)
SELECT * FROM weighed WHERE number = 1 OR weight <= :bytes ORDER BY place;
