-- Settle a batch: only the attempt that still holds a task may move it on. All kinds of outcome, and the attempt rows, in one statement.
-- What outcomes have in common is a kind, sent once; arrays that are shorter than the ids are padded with null, and no kind means the usual one.
-- ANY (ARRAY[…]) equals `=` in all but one thing: the planner can only look up each one by its id. On a table that was small when the statement was
-- planned, `=` lets it walk the whole primary key, and keep that plan.
-- Not returned: the task was settled already, cancelled, failed at its deadline, or its lease was lost.
WITH settled AS (
    UPDATE waggle.tasks t
    SET status = o.status,
        updated = now(),
        completed_at = CASE WHEN o.status IN ('completed', 'failed') THEN now() END,
        run_at = CASE WHEN o.status = 'pending' THEN now() + coalesce(o.delay, 0) * interval '1 second' ELSE t.run_at END,
        rung_at = CASE WHEN o.status <> 'pending' THEN t.rung_at END,
        worker_id = CASE WHEN o.status <> 'pending' THEN t.worker_id END,
        retry_count = t.retry_count + o.counted::int,
        lost_count = t.lost_count + o.lost::int,
        error = CASE WHEN o.status = 'completed' THEN NULL ELSE coalesce(o.error, t.error) END,
        fingerprint = CASE WHEN o.status = 'dead_letter' THEN waggle.fingerprint(t.type, coalesce(o.error, t.error)) END,
        result = o.result
    FROM (
        SELECT o.id, o.attempt, o.started_at, o.delay, o.error, o.result, o.logs, o.emitted, k.worker_id, k.status, k.ended, k.counted, k.lost
        FROM unnest(:ids::uuid[], :attempts::int[], :started_ats::timestamptz[], :kinds::int[], :results::json[], :delays::float8[], :errors::jsonb[],
                    :logs::json[], :emitted::json[]) AS o(id, attempt, started_at, kind, result, delay, error, logs, emitted)
        JOIN unnest(:worker_ids::text[], :statuses::text[], :ended::text[], :counted::bool[], :lost::bool[])
             WITH ORDINALITY AS k(worker_id, status, ended, counted, lost, kind) ON k.kind = coalesce(o.kind, :usual)
    ) o
    WHERE t.id = ANY (ARRAY[o.id]) AND t.attempt = o.attempt AND t.worker_id = o.worker_id AND t.started_at = o.started_at AND t.status || '' = 'running'
    RETURNING t.id, o.attempt, o.worker_id, o.started_at, t.status, o.ended, o.error, o.logs, o.emitted
), recorded AS (
    INSERT INTO waggle.task_attempts (task_id, attempt, worker_id, started_at, outcome, error, logs, emitted)
    SELECT id, attempt, worker_id, started_at, ended, error, logs, emitted FROM settled
)
SELECT id, attempt FROM settled;
