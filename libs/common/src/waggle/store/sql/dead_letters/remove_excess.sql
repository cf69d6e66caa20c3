-- Dead letters over the maximum size become failed, the oldest first. The limit is a place in the order, not a count to remove:
-- two services that do this at once mean the same rows.
WITH edge AS MATERIALIZED (
    SELECT updated, id FROM waggle.tasks WHERE status = 'dead_letter' ORDER BY updated DESC, id DESC OFFSET :max_size LIMIT 1
), worn AS MATERIALIZED (
    SELECT t.id FROM waggle.tasks t, edge WHERE t.status = 'dead_letter' AND (t.updated, t.id) <= (edge.updated, edge.id) AND waggle.task_fits(t)
    ORDER BY t.updated, t.id LIMIT :most FOR UPDATE OF t SKIP LOCKED
)
UPDATE waggle.tasks t SET status = 'failed', updated = now(), completed_at = now()
FROM edge WHERE t.id = ANY (ARRAY(SELECT id FROM worn)) AND t.status || '' = 'dead_letter' AND (t.updated, t.id) <= (edge.updated, edge.id)
RETURNING t.id, t.type, t.queue, t.attempt, t.error ->> 'code' AS code;
