-- End a cleanup that is done or given up. Only its holder may.
DELETE FROM waggle.cleanups WHERE task_id = :task_id AND attempt = :attempt AND worker_id = :worker_id AND tries = :tries;
