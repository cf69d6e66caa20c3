-- Dead letters past their retention period become failed, the oldest first.
WITH worn AS MATERIALIZED (
    SELECT id FROM waggle.tasks w WHERE status = 'dead_letter' AND updated < now() - :keep * interval '1 second' AND waggle.task_fits(w)
    ORDER BY updated, id LIMIT :most FOR UPDATE SKIP LOCKED
)
UPDATE waggle.tasks t SET status = 'failed', updated = now(), completed_at = now()
WHERE t.id = ANY (ARRAY(SELECT id FROM worn)) AND t.status || '' = 'dead_letter' AND t.updated < now() - :keep * interval '1 second'
RETURNING t.id, t.type, t.queue, t.attempt, t.error ->> 'code' AS code;
