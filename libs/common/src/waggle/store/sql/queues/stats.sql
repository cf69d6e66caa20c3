-- The figures of a queue, over the newest tasks of all queues. The primary key is walked back from now to the start of the window (ids are UUIDv7, so a
-- minute more allows for clocks that are late), over at most `most` rows; `since` is where the walk ended. Tries are attempts with an outcome.
WITH newest AS MATERIALIZED (
    SELECT id, queue, status, created FROM waggle.tasks
    WHERE id > CAST(rpad(lpad(to_hex((extract(epoch FROM now() - (:window + 60) * interval '1 second') * 1000)::bigint), 12, '0'), 32, '0') AS uuid)
    ORDER BY id DESC LIMIT :most
), walked AS MATERIALIZED (
    SELECT (SELECT id FROM newest ORDER BY id LIMIT 1) AS oldest,
           CASE WHEN (SELECT count(*) FROM newest) < :most THEN now() - :window * interval '1 second'
                ELSE greatest((SELECT min(created) FROM newest), now() - :window * interval '1 second') END AS since
), counted AS MATERIALIZED (
    SELECT id, status FROM newest WHERE queue = :queue AND created >= (SELECT since FROM walked)
), tries AS (
    SELECT count(*) AS ended, count(*) FILTER (WHERE outcome <> 'completed') AS bad, avg(extract(epoch FROM ended_at - started_at)) AS seconds
    FROM waggle.task_attempts
    WHERE task_id >= (SELECT oldest FROM walked) AND outcome IN ('completed', 'failed', 'lost', 'deadline') AND task_id IN (SELECT id FROM counted)
)
SELECT extract(epoch FROM now() - (SELECT since FROM walked))::float8 AS window, (SELECT since FROM walked) AS since,
       (SELECT count(*) FROM counted) AS tasks_enqueued,
       (SELECT count(*) FROM counted WHERE status = 'completed') AS tasks_completed,
       (SELECT count(*) FROM counted WHERE status IN ('failed', 'dead_letter')) AS tasks_failed,
       (SELECT count(*) FROM waggle.workers w WHERE w.queues @> ARRAY[:queue] AND NOT waggle.lease_expired(w.last_seen, w.lease)) AS active_workers,
       (SELECT count(*) FROM waggle.tasks WHERE status = 'pending' AND rung_at IS NOT NULL AND queue = :queue)
         + (SELECT count(*) FROM waggle.tasks WHERE status = 'pending' AND rung_at IS NULL AND queue = :queue) AS queue_length,
       coalesce(seconds, 0)::float8 AS processing_time, coalesce(bad::float8 / nullif(ended, 0), 0) AS error_rate
FROM tries;
