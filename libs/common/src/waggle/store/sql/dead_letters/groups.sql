-- Dead letters by fingerprint, the largest group first, each with its newest task as example (looked up by its id, which no plan can get wrong).
-- Planned for its values.
WITH found AS MATERIALIZED (
    SELECT coalesce(fingerprint, waggle.fingerprint(type, error)) AS fingerprint, count(*) AS count, min(updated) AS first, max(updated) AS last,
           CAST(max(id::text COLLATE "C") AS uuid) AS example
    FROM waggle.tasks
    WHERE status = 'dead_letter'
      AND waggle.dead_letter_fits(id, type, queue, error, fingerprint, updated, :ids::uuid[], :types::text[], :queue::text, :codes::text[], lower(:part::text),
                              :fingerprint::text, :died_after::timestamptz, :died_before::timestamptz)
      AND (:queues::text[] IS NULL OR queue = ANY (:queues::text[]))
    GROUP BY 1 ORDER BY count(*) DESC, max(updated) DESC LIMIT :most
)
SELECT found.fingerprint, t.type, t.error ->> 'code' AS code, t.error #>> '{details,exception}' AS error_class,
       waggle.normalised(t.error ->> 'message') AS message, found.count, found.first, found.last, found.example
FROM found JOIN waggle.tasks t ON t.id = ANY (ARRAY[found.example])
ORDER BY found.count DESC, found.last DESC;
