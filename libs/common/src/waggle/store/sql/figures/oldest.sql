-- How long the first task of each lane has been due: of rung ones by the order of their lane, one index probe a lane; of those that nobody could ring, the
-- first `most` of all.
WITH RECURSIVE lane AS (
    (SELECT queue, priority, rung_at, run_at FROM waggle.tasks WHERE status = 'pending' AND rung_at IS NOT NULL ORDER BY queue, priority, rung_at LIMIT 1)
    UNION ALL
    SELECT found.queue, found.priority, found.rung_at, found.run_at FROM lane CROSS JOIN LATERAL (
        SELECT t.queue, t.priority, t.rung_at, t.run_at FROM waggle.tasks t
        WHERE t.status = 'pending' AND t.rung_at IS NOT NULL AND (t.queue, t.priority) > (lane.queue, lane.priority)
        ORDER BY t.queue, t.priority, t.rung_at LIMIT 1
    ) found
), unrung AS (
    SELECT queue, priority, run_at FROM waggle.tasks WHERE status = 'pending' AND rung_at IS NULL AND run_at <= now() ORDER BY run_at LIMIT :most
)
SELECT queue, priority, greatest(extract(epoch FROM now() - min(run_at)), 0)::float8 AS seconds
FROM (SELECT queue, priority, run_at FROM lane UNION ALL SELECT queue, priority, run_at FROM unrung) due GROUP BY queue, priority;
