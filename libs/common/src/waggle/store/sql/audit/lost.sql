-- As tasks/lock_lost.sql, to look only: running tasks without a live lease, whether or not a worker row exists.
SELECT t.id FROM waggle.tasks t
WHERE t.status = 'running'
  AND NOT EXISTS (SELECT FROM waggle.workers w WHERE w.id = t.worker_id AND NOT waggle.lease_expired(w.last_seen, w.lease))
ORDER BY t.worker_id LIMIT :most;
