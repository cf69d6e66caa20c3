-- Lock the next dead letters of a redrive, the oldest first: behind the place that it has reached, and dead before it began, so none comes twice.
-- Planned for its values. Fewer than asked for means that there are no more: rows that others moved meanwhile do not count.
SELECT id, updated FROM waggle.tasks
WHERE status = 'dead_letter' AND updated <= :created::timestamptz
  AND (:reached::timestamptz IS NULL OR (updated, id) > (:reached::timestamptz, :reached_id::uuid))
  AND waggle.dead_letter_fits(id, type, queue, error, fingerprint, updated, :ids::uuid[], :types::text[], :queue::text, :codes::text[], lower(:part::text),
                              :fingerprint::text, :died_after::timestamptz, :died_before::timestamptz)
ORDER BY updated, id LIMIT :most FOR UPDATE;
