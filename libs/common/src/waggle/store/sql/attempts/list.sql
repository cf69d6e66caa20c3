-- A task's timeline: its ended attempts, the first one first.
SELECT attempt, worker_id, started_at, ended_at, outcome, error, logs IS NOT NULL AS has_logs FROM waggle.task_attempts WHERE task_id = :id ORDER BY attempt;
