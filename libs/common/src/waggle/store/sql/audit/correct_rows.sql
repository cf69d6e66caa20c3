-- Correct rows that somebody wrote by SQL, so that their tasks go on. A number that cannot be is counted from the attempts; a time that cannot be becomes
-- the nearest one, or is forgotten; a running row that can be neither settled nor taken back waits again. Nothing that ran is invented: a row that still
-- does not fit stays named. Rows that others hold are passed over. Given: what each column that changed was, and is now.
WITH edge AS (
    SELECT '0002-01-01 00:00:00+00'::timestamptz AS first, '9998-12-31 00:00:00+00'::timestamptz AS last
), odd AS MATERIALIZED (
    SELECT * FROM waggle.tasks WHERE id = ANY (:ids::uuid[]) ORDER BY id FOR UPDATE SKIP LOCKED
), tries AS MATERIALIZED (
    SELECT task_id, max(attempt) FILTER (WHERE attempt BETWEEN 1 AND 999999998) AS last,
           count(*) FILTER (WHERE outcome IN ('failed', 'lost')) AS failed, count(*) FILTER (WHERE outcome = 'lost') AS lost
    FROM waggle.task_attempts WHERE task_id = ANY (:ids::uuid[]) GROUP BY task_id
), counted AS MATERIALIZED (
    SELECT o.*, coalesce(t.last, 0) AS ended, coalesce(t.failed, 0)::int AS failed, coalesce(t.lost, 0)::int AS lost,
           o.status = 'running' AND (o.worker_id IS NULL OR o.attempt NOT BETWEEN 1 AND 999999999 OR coalesce(t.last, 0) >= o.attempt
                                     OR (o.started_at BETWEEN edge.first AND edge.last) IS NOT TRUE) AS stuck
    FROM edge CROSS JOIN odd o LEFT JOIN tries t ON t.task_id = o.id
), corrected AS MATERIALIZED (
    SELECT id, CASE WHEN stuck THEN 'pending' ELSE status END AS status,
           least(greatest(created, first), last) AS created, least(greatest(updated, first), last) AS updated, least(greatest(run_at, first), last) AS run_at,
           CASE WHEN NOT stuck AND rung_at BETWEEN first AND last THEN rung_at END AS rung_at,
           CASE WHEN started_at BETWEEN first AND last OR status NOT IN ('pending', 'running') AND started_at IS NOT NULL
                THEN least(greatest(started_at, first), last) END AS started_at,
           CASE WHEN status IN ('completed', 'failed', 'cancelled') THEN least(greatest(coalesce(completed_at, updated), first), last) END AS completed_at,
           CASE WHEN deadline < 'infinity' THEN least(greatest(deadline, first), last) END AS deadline,
           CASE WHEN stuck OR attempt NOT BETWEEN 0 AND 999999999 THEN ended ELSE attempt END AS attempt,
           CASE WHEN retry_count BETWEEN 0 AND least(max_retries, failed) THEN retry_count ELSE least(max_retries, failed) END AS retry_count,
           lost AS lost_count,
           CASE WHEN timeout < 'Infinity' THEN timeout ELSE 300 END AS timeout,
           CASE WHEN NOT stuck AND status <> 'pending' THEN worker_id END AS worker_id,
           CASE WHEN status IN ('failed', 'cancelled', 'dead_letter') THEN coalesce(error, :error::jsonb) WHEN status <> 'completed' THEN error END AS error,
           CASE WHEN status = 'completed' THEN result END AS result
    FROM counted CROSS JOIN edge
), changed AS (
    UPDATE waggle.tasks t
    SET status = c.status, created = c.created, updated = c.updated, run_at = c.run_at, rung_at = c.rung_at, started_at = c.started_at,
        completed_at = c.completed_at, deadline = c.deadline, attempt = c.attempt, retry_count = c.retry_count, lost_count = c.lost_count,
        timeout = c.timeout, worker_id = c.worker_id, error = c.error, result = c.result
    FROM corrected c WHERE t.id = ANY (ARRAY[c.id])
    RETURNING t.*
), compared AS (
    SELECT o.id, to_jsonb(o) - 'payload' AS before, to_jsonb(c) - 'payload' AS after FROM odd o JOIN changed c ON c.id = o.id
)
SELECT c.id, string_agg(format('%s: %s → %s', a.key, left(coalesce(b.value, 'null'), 40), left(coalesce(a.value, 'null'), 40)), ', ' ORDER BY a.key) AS changes
FROM compared c, jsonb_each_text(c.after) a JOIN jsonb_each_text(c.before) b USING (key)
WHERE a.value IS DISTINCT FROM b.value
GROUP BY c.id ORDER BY c.id;
