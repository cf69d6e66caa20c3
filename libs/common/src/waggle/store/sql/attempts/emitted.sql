-- The last values that the handler of each ended attempt of a task emitted, the first attempt first.
SELECT attempt, emitted FROM waggle.task_attempts WHERE task_id = :id AND emitted IS NOT NULL ORDER BY attempt;
