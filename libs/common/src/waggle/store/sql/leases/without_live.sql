-- The workers without a live lease under which tasks run, whether or not a worker row exists. Without judging only those without a row.
-- One index probe for each worker; under an old snapshot each passes over the tasks that the worker has run since.
WITH RECURSIVE under AS (
    (SELECT worker_id FROM waggle.tasks WHERE status = 'running' AND worker_id IS NOT NULL ORDER BY worker_id LIMIT 1)
    UNION ALL
    SELECT found.worker_id FROM under CROSS JOIN LATERAL (
        SELECT t.worker_id FROM waggle.tasks t WHERE t.status = 'running' AND t.worker_id > under.worker_id ORDER BY t.worker_id LIMIT 1
    ) found
)
SELECT worker_id FROM under
WHERE NOT EXISTS (SELECT FROM waggle.workers w WHERE w.id = under.worker_id AND NOT (:judging AND waggle.lease_expired(w.last_seen, w.lease)));
