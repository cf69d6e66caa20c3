-- How long the first task of each queue and type has been ready, among `most` rung tasks and `most` others; paused queues left out.
SELECT ready.queue, ready.type, count(*) AS tasks, extract(epoch FROM now() - min(ready.since))::float8 AS seconds FROM (
    (SELECT queue, type, greatest(run_at, created) AS since FROM waggle.tasks WHERE status = 'pending' AND rung_at IS NOT NULL
     ORDER BY queue, priority, rung_at LIMIT :most)
    UNION ALL
    (SELECT queue, type, greatest(run_at, created) FROM waggle.tasks WHERE status = 'pending' AND rung_at IS NULL AND run_at <= now() ORDER BY run_at LIMIT :most)
) ready
WHERE NOT EXISTS (SELECT FROM waggle.queues q WHERE q.name = ready.queue AND q.paused)
GROUP BY ready.queue, ready.type ORDER BY seconds DESC;
