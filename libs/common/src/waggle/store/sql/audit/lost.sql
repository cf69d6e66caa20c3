-- As tasks/lock_lost.sql, to look only: running tasks without a live lease, whether or not a worker row exists.
SELECT t.id FROM tasks t
WHERE t.status = 'running'
  AND NOT EXISTS (SELECT FROM workers w WHERE w.id = t.worker_id AND NOT waggle_lease_expired(w.last_seen, w.lease))
ORDER BY t.worker_id LIMIT :most;
