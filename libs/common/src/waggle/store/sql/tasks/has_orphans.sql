-- Whether a lane has orphans: claimable tasks rung before its limit, whose doorbell is lost. Those rung before `since` are left
-- out: all of them were seen.
SELECT EXISTS (
    SELECT FROM waggle.tasks t
    WHERE queue = :queue AND priority = :priority AND status = 'pending' AND rung_at >= coalesce(:since::timestamptz, '-infinity') AND rung_at < :before
      AND waggle.claimable(status, run_at, deadline) AND waggle.task_fits(t)
);
