-- The attempts of these tasks under a worker's id that run, or were lost.
SELECT id, attempt, worker_id, started_at FROM waggle.tasks WHERE id = ANY (:ids::uuid[]) AND worker_id = :worker_id AND status || '' = 'running'
UNION ALL
SELECT task_id, attempt, worker_id, started_at FROM waggle.task_attempts WHERE task_id = ANY (:ids::uuid[]) AND worker_id = :worker_id AND outcome = 'lost';
