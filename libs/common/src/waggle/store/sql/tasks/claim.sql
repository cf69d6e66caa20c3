-- Claim a batch: only tasks that are claimable, only by a worker whose lease is live, skipping locked rows.
-- A task that was lost before may have killed its worker: it starts only when the claim names it, or its type cannot kill a worker.
-- An odd row is passed over (waggle.task_fits).
-- A large payload is left out (''), so that neither the small tasks of the batch nor the worker's memory wait for many of them. (A payload's size in the
-- table is its size, unless it is compressed.)
-- status || '' keeps the planner on the primary key: the plain comparison lets it choose a partial index, which is fifty times slower.
WITH picked AS MATERIALIZED (
    SELECT id FROM waggle.tasks p
    WHERE id = ANY (:ids::uuid[]) AND waggle.claimable(status || '', run_at, deadline) AND attempt < 1000000000 AND waggle.task_fits(p)
      AND EXISTS (SELECT FROM waggle.workers w WHERE w.id = :worker_id AND NOT waggle.lease_expired(w.last_seen, w.lease))
      AND (lost_count = 0 OR id = ANY (:lost::uuid[]) OR type = ANY (:harmless::text[]))
    FOR UPDATE SKIP LOCKED
)
UPDATE waggle.tasks t
SET status = 'running', attempt = t.attempt + 1, worker_id = :worker_id, started_at = now(), updated = now()
WHERE t.id = ANY (ARRAY(SELECT id FROM picked)) AND t.status || '' = 'pending'
RETURNING t.id, t.attempt, t.started_at, t.type,
          CASE WHEN pg_column_size(t.payload) <= 32768
                AND (pg_column_compression(t.payload) IS NULL OR octet_length(t.payload::text) <= 32768) THEN t.payload::text ELSE '' END AS payload,
          t.timeout, t.retry_count, t.max_retries, t.lost_count, t.queue, t.priority, t.description, t.metadata, t.created,
          t.run_at, t.deadline, t.unique_key, t.traceparent, t.tracestate;
