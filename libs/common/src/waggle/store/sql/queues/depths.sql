-- Waiting tasks a lane: those that were rung, and those whose time or whose first ring is still to come.
SELECT queue, priority, sum(ready)::bigint AS ready, sum(later)::bigint AS later FROM (
    SELECT queue, priority, count(*) AS ready, 0 AS later FROM waggle.tasks WHERE status = 'pending' AND rung_at IS NOT NULL GROUP BY queue, priority
    UNION ALL
    SELECT queue, priority, 0, count(*) FROM waggle.tasks WHERE status = 'pending' AND rung_at IS NULL GROUP BY queue, priority
) waiting GROUP BY queue, priority;
