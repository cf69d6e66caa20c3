-- Lock the next dead letters of a redrive, the oldest first: after the position that it has reached, and dead before it began, so no task comes twice.
-- Planned for its values. Fewer rows than `most` mean that there are no more: rows that changed in the meantime do not count.
SELECT id, updated FROM waggle.tasks t
WHERE status = 'dead_letter' AND updated <= :created::timestamptz AND waggle.task_fits(t)
  AND (:reached::timestamptz IS NULL OR (updated, id) > (:reached::timestamptz, :reached_id::uuid))
  AND waggle.dead_letter_fits(id, type, queue, error, fingerprint, updated, :ids::uuid[], :types::text[], :queue::text, :codes::text[], lower(:part::text),
                              :fingerprint::text, :died_after::timestamptz, :died_before::timestamptz)
ORDER BY updated, id LIMIT :most FOR UPDATE;
