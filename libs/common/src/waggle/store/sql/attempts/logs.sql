-- A part of what the handler of each ended attempt of a task has logged, the first attempt first; of one attempt, if it is named.
SELECT attempt, logs FROM waggle.task_attempts
WHERE task_id = :id AND logs IS NOT NULL AND attempt >= :first AND (:attempt::int IS NULL OR attempt = :attempt) ORDER BY attempt LIMIT :most;
