-- Claim cleanups that are due. While the lease of the worker that ran the task is live, only that worker may run the cleanup, and only after the
-- handler has ended (`busy` names tasks whose handlers still run). Afterwards any worker with the hook and a live lease may. `tries` is the fence.
-- `stands`: the task is still as it ended. A task that was retried or deleted in the meantime needs no cleanup.
WITH ready AS MATERIALIZED (
    SELECT c.task_id, c.attempt FROM waggle.cleanups c
    WHERE c.due <= now() AND c.type = ANY (:types::text[]) AND c.task_id <> ALL (:busy::uuid[])
      AND (c.worker_id IS NULL OR c.worker_id = :worker_id
           OR NOT EXISTS (SELECT FROM waggle.workers w WHERE w.id = c.worker_id AND NOT waggle.lease_expired(w.last_seen, w.lease)))
      AND EXISTS (SELECT FROM waggle.workers w WHERE w.id = :worker_id AND NOT waggle.lease_expired(w.last_seen, w.lease))
    ORDER BY c.due LIMIT :most FOR UPDATE SKIP LOCKED
), taken AS (
    UPDATE waggle.cleanups c SET worker_id = :worker_id, tries = c.tries + 1
    FROM ready WHERE c.task_id = ready.task_id AND c.attempt = ready.attempt AND c.due <= now()
    RETURNING c.task_id, c.attempt, c.type, c.tries
)
SELECT k.task_id AS cleanup_task_id, k.attempt AS cleanup_attempt, k.type AS cleanup_type, k.tries AS cleanup_tries,
       t.id IS NOT NULL AND t.attempt = k.attempt AND t.status || '' IN ('failed', 'cancelled', 'dead_letter') AS stands, t.*
FROM taken k LEFT JOIN waggle.tasks t ON t.id = k.task_id;
