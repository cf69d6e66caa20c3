-- Lock running tasks without a live lease, whether or not a worker row exists. Once expired, a lease is never renewed: the fence is enough afterwards.
SELECT t.id, t.attempt, t.worker_id, t.started_at, t.type, t.retry_count, t.max_retries, coalesce(y.dead_letter, true) AS dead_letter
FROM tasks t LEFT JOIN task_types y ON y.name = t.type
WHERE t.status = 'running'
  AND NOT EXISTS (SELECT FROM workers w WHERE w.id = t.worker_id AND NOT waggle_lease_expired(w.last_seen, w.lease))
LIMIT :most FOR UPDATE OF t SKIP LOCKED;
