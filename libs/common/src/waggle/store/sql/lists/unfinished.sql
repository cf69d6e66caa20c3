-- The newest waiting and running tasks that fit a listing's filters, found by the partial indexes of unfinished tasks however many finished ones
-- there are. `found` over `enough`: too many of them to be sorted, and the listing has to walk the primary key. The orders inside name each index.
WITH unfinished AS MATERIALIZED (
    (SELECT id, type, queue, priority, created, metadata FROM waggle.tasks
     WHERE 'pending' = ANY (:statuses::text[]) AND status = 'pending' AND rung_at IS NOT NULL AND (:queue::text IS NULL OR queue = :queue)
     ORDER BY queue, priority, rung_at LIMIT :enough + 1)
    UNION ALL
    (SELECT id, type, queue, priority, created, metadata FROM waggle.tasks
     WHERE 'pending' = ANY (:statuses::text[]) AND status = 'pending' AND rung_at IS NULL ORDER BY run_at LIMIT :enough + 1)
    UNION ALL
    (SELECT id, type, queue, priority, created, metadata FROM waggle.tasks
     WHERE 'running' = ANY (:statuses::text[]) AND status = 'running' AND (:queue::text IS NULL OR queue = :queue)
     ORDER BY worker_id LIMIT :enough + 1)
)
SELECT (SELECT count(*) FROM unfinished) AS found, ARRAY(
    SELECT id FROM unfinished
    WHERE id < :before AND id >= :since
      AND (:queue::text IS NULL OR queue = :queue)
      AND (:queues::text[] IS NULL OR queue = ANY (:queues::text[]))
      AND (:types::text[] IS NULL OR type = ANY (:types::text[]))
      AND (:priority::smallint IS NULL OR priority = :priority)
      AND (:created_from::timestamptz IS NULL OR created >= :created_from)
      AND (:created_to::timestamptz IS NULL OR created < :created_to)
      AND (:metadata::jsonb IS NULL OR metadata @> :metadata)
    ORDER BY id DESC LIMIT :most + 1
) AS ids;
