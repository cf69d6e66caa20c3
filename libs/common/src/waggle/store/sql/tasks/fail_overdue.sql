-- An odd row, and a running one whose attempt cannot be recorded, is left: it would fail the whole batch.
-- Fail what passed its deadline, since `back` seconds ago or ever, waiting or running; safe on many schedulers at once.
WITH late AS MATERIALIZED (
    SELECT id, status FROM waggle.tasks l
    WHERE deadline IS NOT NULL AND deadline <= now() AND deadline >= coalesce(now() - :back::float8 * interval '1 second', '-infinity')
      AND status IN ('pending', 'running') AND waggle.task_fits(l)
      AND (status = 'pending' OR (started_at IS NOT NULL AND worker_id IS NOT NULL
           AND NOT EXISTS (SELECT FROM waggle.task_attempts a WHERE a.task_id = ANY (ARRAY[l.id]) AND a.attempt = l.attempt)))
    ORDER BY deadline LIMIT :most FOR UPDATE SKIP LOCKED
), overdue AS (
    UPDATE waggle.tasks t
    SET status = 'failed', updated = now(), completed_at = now(), error = :error::jsonb
    WHERE t.id = ANY (ARRAY(SELECT id FROM late)) AND t.status || '' IN ('pending', 'running') AND t.deadline <= now()
    RETURNING t.id, t.type, t.queue, t.attempt, t.worker_id, t.started_at
), recorded AS (
    INSERT INTO waggle.task_attempts (task_id, attempt, worker_id, started_at, outcome, error)
    SELECT id, attempt, worker_id, started_at, 'deadline', :error::jsonb FROM overdue JOIN late USING (id) WHERE late.status = 'running'
)
SELECT id, type, late.status AS was, attempt, worker_id, queue FROM overdue JOIN late USING (id);
