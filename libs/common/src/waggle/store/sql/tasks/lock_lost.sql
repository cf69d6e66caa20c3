-- Lock running tasks without a live lease, whether or not a worker row exists. Once expired, a lease is never renewed: the fence is enough afterwards.
-- A row without a start or a worker has no fence, and one whose attempt is recorded already cannot be recorded: they would fill the batch for ever.
-- Whatever can be claimed can be taken back: this asks less of a row than waggle.task_fits.
-- Without judging only those without a row: their lease was ended, whatever the time.
SELECT t.id, t.attempt, t.worker_id, t.started_at, t.type, t.retry_count, t.max_retries, coalesce(y.dead_letter, true) AS dead_letter
FROM waggle.tasks t LEFT JOIN waggle.task_types y ON y.name = t.type
WHERE t.status = 'running' AND t.worker_id IS NOT NULL
  AND t.started_at >= '0002-01-01 00:00:00+00' AND t.started_at < '9999-01-01 00:00:00+00'
  AND t.attempt BETWEEN 1 AND 1000000000 AND t.retry_count BETWEEN 0 AND 1000000000 AND t.lost_count BETWEEN 0 AND 1000000000
  AND NOT EXISTS (SELECT FROM waggle.task_attempts a WHERE a.task_id = ANY (ARRAY[t.id]) AND a.attempt = t.attempt)
  AND NOT EXISTS (SELECT FROM waggle.workers w WHERE w.id = t.worker_id AND NOT (:judging AND waggle.lease_expired(w.last_seen, w.lease)))
LIMIT :most FOR UPDATE OF t SKIP LOCKED;
