-- Whether a lane has orphans: claimable tasks rung before its limit, whose doorbell is lost.
SELECT EXISTS (
    SELECT FROM waggle.tasks t
    WHERE queue = :queue AND priority = :priority AND status = 'pending' AND rung_at IS NOT NULL AND rung_at < :before
      AND waggle.claimable(status, run_at, deadline) AND waggle.task_fits(t)
);
