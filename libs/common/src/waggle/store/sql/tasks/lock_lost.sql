-- Lock running tasks without a live lease, whether or not a worker row exists. Once expired, a lease is never renewed: the fence is enough afterwards.
-- A row without a start or a worker has no fence: it would fill the batch for ever.
-- Without judging only those without a row: their lease was ended, whatever the time.
SELECT t.id, t.attempt, t.worker_id, t.started_at, t.type, t.retry_count, t.max_retries, coalesce(y.dead_letter, true) AS dead_letter
FROM waggle.tasks t LEFT JOIN waggle.task_types y ON y.name = t.type
WHERE t.status = 'running' AND waggle.task_fits(t) AND t.started_at IS NOT NULL AND t.worker_id IS NOT NULL
  AND NOT EXISTS (SELECT FROM waggle.workers w WHERE w.id = t.worker_id AND NOT (:judging AND waggle.lease_expired(w.last_seen, w.lease)))
LIMIT :most FOR UPDATE OF t SKIP LOCKED;
