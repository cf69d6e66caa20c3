-- One redrive.
SELECT id, state, filter, rate, most, matched, retried, skipped, failed_again, reason, created, updated, ended_at, submitted_by FROM waggle.redrives WHERE id = :id;
