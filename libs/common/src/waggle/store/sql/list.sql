-- A page of tasks, the newest first, without payloads; a filter that is null does not count. Planned for its values (see store.tasks.page).
-- It ends early where its results get too large together (octet_length reads only a result's size, not the result); `found` says whether more follow.
-- `among`: only these, found already (see list_unfinished.sql).
WITH page AS MATERIALIZED (
SELECT id, type, status, priority, description, created, updated, retry_count, max_retries, metadata, queue, run_at, attempt, timeout,
       completed_at, deadline, error, result, started_at, worker_id, unique_key, lost_count
FROM tasks
WHERE (:before::uuid IS NULL OR id < :before::uuid)
  AND (:among::uuid[] IS NULL OR id = ANY (:among::uuid[]))
  AND (:statuses::text[] IS NULL OR status = ANY (:statuses::text[]))
  AND (:types::text[] IS NULL OR type = ANY (:types::text[]))
  AND (:queue::text IS NULL OR queue = :queue)
  AND (:priority::smallint IS NULL OR priority = :priority)
  AND (:created_from::timestamptz IS NULL OR created >= :created_from)
  AND (:created_to::timestamptz IS NULL OR created < :created_to)
  AND (:metadata::jsonb IS NULL OR metadata @> :metadata)
ORDER BY id DESC LIMIT :most + 1
), weighed AS (
    SELECT page.*, row_number() OVER newest AS number, sum(coalesce(octet_length(result::text), 0)) OVER newest AS weight, count(*) OVER () AS found
    FROM page WINDOW newest AS (ORDER BY id DESC)
)
SELECT * FROM weighed WHERE number <= :most AND (number = 1 OR weight <= :bytes) ORDER BY id DESC;
