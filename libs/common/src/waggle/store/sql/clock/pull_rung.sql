-- Tasks that were rung before the clock was set back: due by now, and without a doorbell that the orphan rule could judge. The due loop rings them again.
WITH ahead AS MATERIALIZED (
    SELECT id FROM waggle.tasks a
    WHERE status = 'pending' AND rung_at IS NOT NULL AND rung_at > now() AND waggle.task_fits(a) LIMIT :most FOR UPDATE SKIP LOCKED
)
UPDATE waggle.tasks t SET run_at = least(t.run_at, now()), rung_at = NULL, updated = now()
WHERE t.id = ANY (ARRAY(SELECT id FROM ahead)) AND t.status || '' = 'pending' AND t.rung_at > now();
