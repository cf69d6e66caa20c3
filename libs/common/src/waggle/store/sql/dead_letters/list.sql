-- A page of dead letters, the last that died first, without payloads; a filter that is null does not count. Planned for its values.
SELECT id, type, status, priority, description, created, updated, retry_count, max_retries, metadata, queue, run_at, attempt, timeout,
       completed_at, deadline, error, result, started_at, worker_id, unique_key, lost_count
FROM waggle.tasks
WHERE status = 'dead_letter' AND (:before::timestamptz IS NULL OR (updated, id) < (:before::timestamptz, :before_id::uuid))
  AND waggle.dead_letter_fits(id, type, queue, error, fingerprint, updated, :ids::uuid[], :types::text[], :queue::text, :codes::text[], lower(:part::text),
                              :fingerprint::text, :died_after::timestamptz, :died_before::timestamptz)
  AND (:queues::text[] IS NULL OR queue = ANY (:queues::text[]))
ORDER BY updated DESC, id DESC LIMIT :most + 1;
