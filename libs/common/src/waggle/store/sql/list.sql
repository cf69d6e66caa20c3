-- A page of tasks, the newest first, without payloads; a filter that is null does not count. Planned for its values (see store.tasks.page).
SELECT id, type, status, priority, description, created, updated, retry_count, max_retries, metadata, queue, run_at, attempt, timeout,
       completed_at, deadline, error, result, started_at, worker_id, unique_key, lost_count
FROM tasks
WHERE (:before::uuid IS NULL OR id < :before::uuid)
  AND (:statuses::text[] IS NULL OR status = ANY (:statuses::text[]))
  AND (:types::text[] IS NULL OR type = ANY (:types::text[]))
  AND (:queue::text IS NULL OR queue = :queue)
  AND (:priority::smallint IS NULL OR priority = :priority)
  AND (:created_from::timestamptz IS NULL OR created >= :created_from)
  AND (:created_to::timestamptz IS NULL OR created < :created_to)
  AND (:metadata::jsonb IS NULL OR metadata @> :metadata)
ORDER BY id DESC LIMIT :most;
