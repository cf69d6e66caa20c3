-- Types that wait and that no live worker of their queue serves, among `most` rung and `most` other tasks; paused queues left out.
SELECT waiting.type, waiting.queue, count(*) AS tasks FROM (
    (SELECT type, queue FROM waggle.tasks WHERE status = 'pending' AND rung_at IS NOT NULL ORDER BY queue, priority, rung_at LIMIT :most)
    UNION ALL
    (SELECT type, queue FROM waggle.tasks WHERE status = 'pending' AND rung_at IS NULL AND run_at < now() + interval '1 minute' ORDER BY run_at LIMIT :most)
) waiting
WHERE NOT EXISTS (SELECT FROM waggle.queues q WHERE q.name = waiting.queue AND q.paused)
  AND NOT EXISTS (
    SELECT FROM waggle.workers w WHERE NOT waggle.lease_expired(w.last_seen, w.lease) AND waiting.type = ANY (w.types) AND waiting.queue = ANY (w.queues)
  )
GROUP BY waiting.type, waiting.queue ORDER BY count(*) DESC, waiting.type;
