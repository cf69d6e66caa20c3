-- A cleanup failed, or was given back uncounted: anybody may take it after the delay. Only by who holds it.
UPDATE waggle.cleanups SET worker_id = NULL, due = now() + :delay * interval '1 second', tries = tries - :uncounted::int
WHERE task_id = :task_id AND attempt = :attempt AND worker_id = :worker_id AND tries = :tries;
