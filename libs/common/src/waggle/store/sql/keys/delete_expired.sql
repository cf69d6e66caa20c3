-- Delete idempotency keys whose tasks are all gone.
WITH old AS MATERIALIZED (
    SELECT submitter, key FROM waggle.idempotency_keys k
    WHERE created < now() - :keep * interval '1 second' AND NOT EXISTS (SELECT FROM waggle.tasks t WHERE t.id = ANY (k.task_ids))
    ORDER BY created LIMIT :most FOR UPDATE SKIP LOCKED
)
DELETE FROM waggle.idempotency_keys k USING old
WHERE k.submitter = old.submitter AND k.key = old.key AND NOT EXISTS (SELECT FROM waggle.tasks t WHERE t.id = ANY (k.task_ids));
