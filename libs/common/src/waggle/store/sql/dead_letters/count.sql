-- How many dead letters match. Planned for its values.
SELECT count(*) FROM waggle.tasks
WHERE status = 'dead_letter'
  AND waggle.dead_letter_fits(id, type, queue, error, fingerprint, updated, :ids::uuid[], :types::text[], :queue::text, :codes::text[], lower(:part::text),
                              :fingerprint::text, :died_after::timestamptz, :died_before::timestamptz);
