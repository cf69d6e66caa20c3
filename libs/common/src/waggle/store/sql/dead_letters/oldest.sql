-- The dead letters that a redrive would take first. Planned for its values.
SELECT id FROM waggle.tasks t
WHERE status = 'dead_letter' AND waggle.task_fits(t)
  AND waggle.dead_letter_fits(id, type, queue, error, fingerprint, updated, :ids::uuid[], :types::text[], :queue::text, :codes::text[], lower(:part::text),
                              :fingerprint::text, :died_after::timestamptz, :died_before::timestamptz)
ORDER BY updated, id LIMIT :most;
