-- A page of redrives, the newest first (ids ascend with time).
SELECT id, state, filter, rate, most, matched, retried, skipped, failed_again, reason, created, updated, ended_at, submitted_by,
       changes, unfit, first_unfit FROM waggle.redrives
WHERE :before::uuid IS NULL OR id < :before::uuid
ORDER BY id DESC LIMIT :most + 1;
