-- Let claimable tasks that were lost before wait, unclaimed and unrung: the scheduler rings them at their time. Nobody holds them meanwhile, so a worker
-- that dies costs them nothing. Not returned: no longer claimable, or locked by somebody who decides otherwise.
WITH picked AS MATERIALIZED (
    SELECT t.id, o.delay FROM unnest(:ids::uuid[], :delays::float8[]) AS o(id, delay) JOIN waggle.tasks t ON t.id = ANY (ARRAY[o.id])
    WHERE t.lost_count > 0 AND waggle.claimable(t.status || '', t.run_at, t.deadline) AND waggle.task_fits(t)
    FOR UPDATE OF t SKIP LOCKED
), waiting AS (
    UPDATE waggle.tasks t SET run_at = now() + p.delay * interval '1 second', rung_at = NULL
    FROM picked p WHERE t.id = ANY (ARRAY[p.id]) AND t.status || '' = 'pending'
    RETURNING t.id
)
SELECT id FROM waiting;
