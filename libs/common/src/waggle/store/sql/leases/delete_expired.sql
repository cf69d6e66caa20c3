-- Delete workers whose lease expired long ago and under whose id no task runs.
DELETE FROM waggle.workers w
WHERE waggle.lease_expired(w.last_seen, w.lease + :keep * interval '1 second')
  AND NOT EXISTS (SELECT FROM waggle.tasks t WHERE t.status = 'running' AND t.worker_id = w.id);
