-- Cancel one task that has not ended: final at once. A running attempt gets its row here, as in every statement that moves a running task on.
WITH before AS MATERIALIZED (
    SELECT id, status FROM waggle.tasks WHERE id = :id AND status || '' IN ('pending', 'running') FOR UPDATE
), cancelled AS (
    UPDATE waggle.tasks t
    SET status = 'cancelled', updated = now(), completed_at = now(), error = :error::jsonb
    FROM before
    WHERE t.id = :id AND t.id = before.id AND t.status || '' IN ('pending', 'running')
    RETURNING t.id, before.status AS was, t.attempt, t.worker_id, t.started_at
), recorded AS (
    INSERT INTO waggle.task_attempts (task_id, attempt, worker_id, started_at, outcome, error)
    SELECT id, attempt, worker_id, started_at, 'cancelled', :error::jsonb FROM cancelled WHERE was = 'running'
)
SELECT id, was, attempt, worker_id FROM cancelled;
