-- The next page of a lane's claimable tasks that were rung before a moment, in the order in which the lane should hold their doorbells.
SELECT id, rung_at FROM waggle.tasks
WHERE queue = :queue AND priority = :priority AND status = 'pending' AND rung_at IS NOT NULL AND rung_at < :before
  AND rung_at >= :reached AND (rung_at, id) > (:reached, :reached_id)
  AND waggle.claimable(status, run_at, deadline)
ORDER BY rung_at, id LIMIT :most;
