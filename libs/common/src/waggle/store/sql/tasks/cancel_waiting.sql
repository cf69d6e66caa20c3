-- Cancel those of these tasks that still wait; rows that others hold are passed over: they are being claimed or cancelled. So are odd rows,
-- which would fail the whole batch.
WITH picked AS MATERIALIZED (
    SELECT id FROM waggle.tasks p WHERE id = ANY (:ids::uuid[]) AND status || '' = 'pending' AND waggle.task_fits(p) FOR UPDATE SKIP LOCKED
)
UPDATE waggle.tasks t SET status = 'cancelled', updated = now(), completed_at = now(), error = :error::jsonb
WHERE t.id = ANY (ARRAY(SELECT id FROM picked)) AND t.status || '' = 'pending'
RETURNING t.id, t.type, t.queue, t.attempt;
