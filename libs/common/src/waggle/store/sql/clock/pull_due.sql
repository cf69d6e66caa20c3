-- Tasks that were written before the clock was set back by `back` seconds, and wait for a time of the old clock: what was due is due, and a retry
-- waits no longer than its backoff. A first try that is due later by the old clock keeps its time: somebody may have asked for that time of day.
WITH ahead AS MATERIALIZED (
    SELECT id FROM waggle.tasks a
    WHERE status = 'pending' AND rung_at IS NULL AND run_at > now() AND updated > now() AND waggle.task_fits(a)
      AND (attempt > 0 OR run_at <= now() + :back * interval '1 second')
    ORDER BY run_at LIMIT :most FOR UPDATE SKIP LOCKED
)
UPDATE waggle.tasks t SET run_at = greatest(now(), t.run_at - :back * interval '1 second'), updated = now()
WHERE t.id = ANY (ARRAY(SELECT id FROM ahead)) AND t.status || '' = 'pending' AND t.rung_at IS NULL AND t.updated > now();
