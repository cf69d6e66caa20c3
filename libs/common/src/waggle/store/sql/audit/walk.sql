-- One step of the audit's walk through all tasks: those whose columns do not fit their status, and those whose attempts do not fit the task.
-- A time is when its statement began, which may have waited for a lock: an order of times is broken when it is so by more than `slack` seconds.
-- A clock that was set back between two times excuses them. Attempts between two tasks belong to none.
WITH page AS MATERIALIZED (
    SELECT id, status, attempt, retry_count, max_retries, lost_count, worker_id, started_at, completed_at,
           error IS NOT NULL AS has_error, result IS NOT NULL AS has_result, waggle.task_fits(t) AS fits
    FROM waggle.tasks t WHERE id > :after ORDER BY id LIMIT :most
), edge AS MATERIALIZED (
    SELECT CASE WHEN (SELECT count(*) FROM page) < :most THEN 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid
                ELSE (SELECT id FROM page ORDER BY id DESC LIMIT 1) END AS id
), tries AS (
    SELECT task_id, attempt, outcome, started_at, ended_at, lag(ended_at) OVER (PARTITION BY task_id ORDER BY attempt) AS before
    FROM waggle.task_attempts WHERE task_id > :after AND task_id <= (SELECT id FROM edge)
), lines AS MATERIALIZED (
    SELECT task_id, count(*) AS ended, max(attempt) AS last, max(ended_at) AS ended_at, (array_agg(outcome ORDER BY attempt DESC))[1] AS outcome,
           count(*) FILTER (WHERE outcome IN ('completed', 'cancelled', 'deadline')) AS final,
           count(*) FILTER (WHERE outcome IN ('failed', 'lost')) AS failed, count(*) FILTER (WHERE outcome = 'lost') AS lost,
           bool_or(CASE WHEN ended_at < started_at - :slack * interval '1 second' THEN NOT waggle.set_back_between(started_at, ended_at, :slack)
                        WHEN started_at < before - :slack * interval '1 second' THEN NOT waggle.set_back_between(before, started_at, :slack)
                        ELSE false END) AS disorder
    FROM tries GROUP BY task_id
), judged AS MATERIALIZED (
    SELECT coalesce(p.id, l.task_id) AS id,
        NOT (
            fits AND attempt >= 0 AND retry_count BETWEEN 0 AND least(max_retries, attempt) AND lost_count BETWEEN 0 AND attempt
            AND (has_result <= (status = 'completed'))
            AND (completed_at IS NOT NULL) = (status IN ('completed', 'failed', 'cancelled'))
            AND (status NOT IN ('running', 'completed', 'dead_letter') OR (worker_id IS NOT NULL AND started_at IS NOT NULL AND attempt > 0))
            AND (status <> 'pending' OR worker_id IS NULL)
            AND (status NOT IN ('failed', 'cancelled', 'dead_letter') OR has_error)
            AND (status <> 'completed' OR NOT has_error)
        ) AS bad_row,
        NOT (
            p.id IS NOT NULL
            AND coalesce(ended, 0) = attempt - (status = 'running')::int AND coalesce(last, 0) = coalesce(ended, 0)
            AND coalesce(lost, 0) = lost_count AND retry_count <= coalesce(failed, 0)
            AND NOT coalesce(disorder, false)
            AND (status <> 'running' OR ended IS NULL OR started_at >= ended_at - :slack * interval '1 second'
                 OR waggle.set_back_between(ended_at, started_at, :slack))
            AND coalesce(final, 0) = coalesce((outcome IN ('completed', 'cancelled', 'deadline'))::int, 0)
            AND (status = 'completed') = (coalesce(outcome, '') = 'completed')
            AND (coalesce(outcome, '') <> 'cancelled' OR status = 'cancelled')
            AND (coalesce(outcome, '') <> 'deadline' OR status = 'failed')
            AND (status <> 'dead_letter' OR coalesce(outcome, '') IN ('failed', 'lost'))
        ) AS bad_timeline
    FROM page p FULL JOIN lines l ON l.task_id = p.id
)
SELECT (SELECT id FROM page ORDER BY id DESC LIMIT 1) AS reached, (SELECT count(*) FROM page) AS seen,
       ARRAY(SELECT id FROM judged WHERE coalesce(bad_row, false) ORDER BY id) AS rows,
       ARRAY(SELECT id FROM judged WHERE bad_timeline ORDER BY id) AS timelines;
