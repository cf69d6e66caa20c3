-- Write what a step did, under the lock that it took on the redrive.
UPDATE waggle.redrives
SET state = :state::text, retried = retried + :retried::int, skipped = skipped + :skipped::int, unfit = unfit + :unfit::int,
    first_unfit = coalesce(first_unfit || :first_unfit::jsonb, :first_unfit::jsonb, first_unfit), ended = ended + :ended::int,
    failed_again = failed_again + :failed::int, recent_ended = :recent_ended::int, recent_failed = :recent_failed::int,
    reason = coalesce(:reason::text, reason), updated = now(),
    ended_at = CASE WHEN :state::text <> 'running' THEN coalesce(ended_at, now()) END,
    reached_updated = coalesce(:reached::timestamptz, reached_updated), reached_id = coalesce(:reached_id::uuid, reached_id),
    portion_at = CASE WHEN :retried::int > 0 THEN now() ELSE portion_at END,
    next_at = now() + :seconds::float8 * interval '1 second'
WHERE id = :id AND state IN ('running', :state::text);
