-- The payload that a claim left behind, for the attempt that holds the task still.
SELECT payload FROM waggle.tasks
WHERE id = :id AND attempt = :attempt AND worker_id = :worker_id AND started_at = :started_at AND status || '' = 'running';
