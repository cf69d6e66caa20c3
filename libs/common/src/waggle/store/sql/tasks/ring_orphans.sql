-- Mark a lane's orphans as rung again, in the order in which the lane held them; the caller rings them after the commit.
WITH orphan AS MATERIALIZED (
    SELECT id FROM waggle.tasks o
    WHERE queue = :queue AND priority = :priority AND status = 'pending' AND rung_at >= coalesce(:since::timestamptz, '-infinity') AND rung_at < :before
      AND waggle.claimable(status, run_at, deadline) AND waggle.task_fits(o)
    ORDER BY rung_at, id LIMIT :most FOR UPDATE SKIP LOCKED
)
UPDATE waggle.tasks t SET rung_at = now()
WHERE t.id = ANY (ARRAY(SELECT id FROM orphan)) AND t.status || '' = 'pending' AND t.rung_at < :before
RETURNING t.id, t.queue, t.priority, t.rung_at;
