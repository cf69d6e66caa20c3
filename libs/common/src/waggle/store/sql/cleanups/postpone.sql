-- A cleanup failed, or was given back uncounted: any worker may take it after the delay. Only its holder may do this.
UPDATE waggle.cleanups SET worker_id = NULL, due = now() + :delay * interval '1 second', tries = tries - :uncounted::int
WHERE task_id = :task_id AND attempt = :attempt AND worker_id = :worker_id AND tries = :tries;
