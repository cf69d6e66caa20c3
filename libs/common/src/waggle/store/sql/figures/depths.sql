-- Tasks of each lane: due and waiting, waiting for their time, running.
SELECT queue, priority, sum(due)::bigint AS due, sum(later)::bigint AS later, sum(running)::bigint AS running FROM (
    SELECT queue, priority, count(*) AS due, 0 AS later, 0 AS running FROM waggle.tasks
    WHERE status = 'pending' AND rung_at IS NOT NULL GROUP BY queue, priority
    UNION ALL
    SELECT queue, priority, count(*) FILTER (WHERE run_at <= now()), count(*) FILTER (WHERE run_at > now()), 0 FROM waggle.tasks
    WHERE status = 'pending' AND rung_at IS NULL GROUP BY queue, priority
    UNION ALL
    SELECT queue, priority, 0, 0, count(*) FROM waggle.tasks WHERE status = 'running' GROUP BY queue, priority
) lanes GROUP BY queue, priority;
