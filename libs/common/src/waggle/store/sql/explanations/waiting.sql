-- What waits, grouped by what says why: of `most` rung tasks and `most` others. The last attempt of each is looked up by its key.
SELECT w.queue, w.type, w.run_at > now() AS later, w.rung, w.attempt = 0 AS is_new, coalesce(w.deadline <= now(), false) AS overdue, w.lost, a.outcome,
       a.error #>> '{details,breaker}' AS breaker, a.error ->> 'code' AS code, count(*) AS tasks, min(w.run_at) AS first
FROM (
    (SELECT id, queue, type, run_at, true AS rung, attempt, deadline, lost_count > 0 AS lost FROM waggle.tasks
     WHERE status = 'pending' AND rung_at IS NOT NULL ORDER BY queue, priority, rung_at LIMIT :most)
    UNION ALL
    (SELECT id, queue, type, run_at, false, attempt, deadline, lost_count > 0 FROM waggle.tasks
     WHERE status = 'pending' AND rung_at IS NULL ORDER BY run_at LIMIT :most)
) w
LEFT JOIN waggle.task_attempts a ON a.task_id = w.id AND a.attempt = w.attempt
GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10;
