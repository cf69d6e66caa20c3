-- The lanes of pending tasks that were rung, paused queues left out: one index probe a lane, however long the lanes are.
WITH RECURSIVE lane AS (
    (SELECT queue, priority FROM waggle.tasks WHERE status = 'pending' AND rung_at IS NOT NULL ORDER BY queue, priority LIMIT 1)
    UNION ALL
    SELECT found.queue, found.priority FROM lane CROSS JOIN LATERAL (
        SELECT t.queue, t.priority FROM waggle.tasks t
        WHERE t.status = 'pending' AND t.rung_at IS NOT NULL AND (t.queue, t.priority) > (lane.queue, lane.priority)
        ORDER BY t.queue, t.priority LIMIT 1
    ) found
)
SELECT lane.queue, lane.priority FROM lane
WHERE NOT EXISTS (SELECT FROM waggle.queues q WHERE q.name = lane.queue AND q.paused);
