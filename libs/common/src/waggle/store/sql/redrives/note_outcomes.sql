-- Note how the first attempts of redriven tasks ended; snoozed and given back ones do not count. A task that ended without one counts as cancelled.
WITH open AS MATERIALIZED (
    SELECT task_id, retried_at, attempt FROM waggle.dead_letter_retries WHERE redrive_id = :id AND outcome IS NULL
), seen AS MATERIALIZED (
    SELECT o.task_id, o.retried_at, coalesce(
        (SELECT CASE WHEN a.outcome IN ('completed', 'cancelled') THEN a.outcome ELSE 'failed' END
         FROM waggle.task_attempts a WHERE a.task_id = o.task_id AND a.attempt > o.attempt AND a.outcome NOT IN ('snoozed', 'given_back')
         ORDER BY a.attempt LIMIT 1),
        CASE WHEN NOT EXISTS (SELECT FROM waggle.tasks t WHERE t.id = ANY (ARRAY[o.task_id]) AND t.status || '' IN ('pending', 'running')) THEN 'cancelled' END
    ) AS outcome
    FROM open o
), noted AS (
    UPDATE waggle.dead_letter_retries r SET outcome = s.outcome
    FROM seen s WHERE s.outcome IS NOT NULL AND r.task_id = s.task_id AND r.retried_at = s.retried_at AND r.outcome IS NULL
)
SELECT count(*) FILTER (WHERE outcome IS NULL) AS open, count(*) FILTER (WHERE outcome <> 'cancelled') AS ended, count(*) FILTER (WHERE outcome = 'failed') AS failed
FROM seen;
