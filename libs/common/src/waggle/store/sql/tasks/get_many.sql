-- Tasks by their ids, without payloads.
SELECT id, type, status, priority, description, created, updated, retry_count, max_retries, metadata, queue, run_at, attempt, timeout,
       completed_at, deadline, error, result, started_at, worker_id, unique_key, lost_count
FROM waggle.tasks WHERE id = ANY (:ids::uuid[]);
