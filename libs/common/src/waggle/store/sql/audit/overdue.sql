-- Unfinished tasks that have been past their deadline for a while, the earliest first.
SELECT id FROM waggle.tasks
WHERE deadline IS NOT NULL AND deadline < now() - :grace * interval '1 second' AND status IN ('pending', 'running')
ORDER BY deadline LIMIT :most;
