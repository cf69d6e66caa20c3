-- Mark tasks whose time has come as rung; the caller rings them after the commit. Earliest first, of those due
-- since `back` seconds ago or of all.
WITH due AS MATERIALIZED (
    SELECT id FROM waggle.tasks d
    WHERE status = 'pending' AND rung_at IS NULL AND run_at >= coalesce(now() - :back::float8 * interval '1 second', '-infinity')
      AND waggle.claimable(status, run_at, deadline) AND waggle.task_fits(d)
    ORDER BY run_at LIMIT :most FOR UPDATE SKIP LOCKED
)
UPDATE waggle.tasks t SET rung_at = now()
WHERE t.id = ANY (ARRAY(SELECT id FROM due)) AND t.status || '' = 'pending' AND t.rung_at IS NULL
RETURNING t.id, t.queue, t.priority, t.rung_at;
