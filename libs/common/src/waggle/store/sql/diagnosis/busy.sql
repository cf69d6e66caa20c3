-- What each live worker that takes tasks holds: the slots that it says are taken, the tasks that run under it, and how long ago the last of them started.
SELECT w.id, w.queues, w.types, w.concurrency, w.running AS taken, held.tasks, held.seconds
FROM waggle.workers w CROSS JOIN LATERAL (
    SELECT count(*) AS tasks, extract(epoch FROM clock_timestamp() - max(t.started_at))::float8 AS seconds
    FROM waggle.tasks t WHERE t.status = 'running' AND t.worker_id = w.id
) held
WHERE NOT waggle.lease_expired(w.last_seen, w.lease) AND NOT w.draining
ORDER BY w.id;
