-- Tasks that have been due for a while without a doorbell, the earliest first.
SELECT id FROM waggle.tasks
WHERE status = 'pending' AND rung_at IS NULL AND run_at < now() - :grace * interval '1 second' AND waggle.claimable(status, run_at, deadline)
ORDER BY run_at LIMIT :most;
