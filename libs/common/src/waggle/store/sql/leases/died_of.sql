-- Which of these attempts, lost under this worker's id, were the last one that a dead letter had.
SELECT t.id
FROM unnest(:ids::uuid[], :attempts::int[]) AS f(id, attempt)
JOIN waggle.tasks t ON t.id = ANY (ARRAY[f.id])
JOIN waggle.task_attempts a ON a.task_id = ANY (ARRAY[f.id]) AND a.attempt = f.attempt
WHERE t.status || '' = 'dead_letter' AND t.attempt = f.attempt AND a.outcome = 'lost' AND a.worker_id = :worker_id;
