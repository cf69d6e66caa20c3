-- A cleanup is done, or given up: only by who holds it.
DELETE FROM waggle.cleanups WHERE task_id = :task_id AND attempt = :attempt AND worker_id = :worker_id AND tries = :tries;
