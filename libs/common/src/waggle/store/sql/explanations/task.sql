-- All that says why one task does not run: the task, how its last attempt ended, its queue, and the worker that holds it.
SELECT t.id, t.type, t.status, t.queue, t.priority, t.created, t.updated, t.run_at, t.rung_at, t.started_at, t.completed_at, t.deadline, t.attempt,
       t.retry_count, t.max_retries, t.lost_count, t.timeout, t.worker_id, t.submitted_by, t.door, t.traceparent, t.error, now() AS now,
       a.outcome AS last_outcome, a.ended_at AS last_ended, a.error AS last_error,
       coalesce(q.paused, false) AS paused, q.updated AS paused_since,
       CASE WHEN q.paused THEN (SELECT e.actor FROM waggle.audit_trail e WHERE e.action = 'queue.pause' AND e.target = t.queue ORDER BY e.seq DESC LIMIT 1)
            END AS paused_by,
       w.last_seen, w.host, coalesce(NOT waggle.lease_expired(w.last_seen, w.lease), false) AS holder_lives
FROM waggle.tasks t
LEFT JOIN waggle.task_attempts a ON a.task_id = t.id AND a.attempt = t.attempt
LEFT JOIN waggle.queues q ON q.name = t.queue
LEFT JOIN waggle.workers w ON w.id = t.worker_id
WHERE t.id = :id;
