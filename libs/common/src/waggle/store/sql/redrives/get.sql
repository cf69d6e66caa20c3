-- One redrive.
SELECT id, state, filter, rate, most, matched, retried, skipped, failed_again, reason, created, updated, ended_at, submitted_by,
       changes, unfit, first_unfit FROM waggle.redrives WHERE id = :id;
