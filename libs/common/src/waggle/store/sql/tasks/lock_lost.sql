-- Lock running tasks of these workers without a live lease, whether or not a worker row exists. Once expired, a lease is never renewed: the fence is
-- enough afterwards.
-- A row without a start or a worker has no fence, and one whose attempt is recorded already cannot be recorded: they would fill the batch for ever.
-- An odd row would fail the whole batch (waggle.task_fits); whatever can be claimed can be taken back.
-- Without judging only those without a row: their lease was ended, whatever the time.
SELECT t.id, t.attempt, t.worker_id, t.started_at, t.type, t.retry_count, t.max_retries, coalesce(y.dead_letter, true) AS dead_letter, t.queue
FROM waggle.tasks t LEFT JOIN waggle.task_types y ON y.name = t.type
WHERE t.status = 'running' AND t.worker_id = ANY (:worker_ids::text[]) AND t.started_at IS NOT NULL AND t.attempt > 0 AND waggle.task_fits(t)
  AND NOT EXISTS (SELECT FROM waggle.task_attempts a WHERE a.task_id = ANY (ARRAY[t.id]) AND a.attempt = t.attempt)
  AND NOT EXISTS (SELECT FROM waggle.workers w WHERE w.id = t.worker_id AND NOT (:judging AND waggle.lease_expired(w.last_seen, w.lease)))
LIMIT :most FOR UPDATE OF t SKIP LOCKED;
