-- The kinds of final tasks, which are type, queue and status, that fit a listing's filters: looked up one after the other in the index of final tasks,
-- whose order this is, so that each costs one look however many tasks are of it. A filter that is null does not count. `:enough` and one more at most.
WITH RECURSIVE kinds AS (
    SELECT first.* FROM (SELECT DISTINCT unnest(coalesce(:types::text[], ARRAY[NULL])) AS wanted) CROSS JOIN LATERAL (
        SELECT type, queue, status FROM waggle.tasks
        WHERE status IN ('completed', 'failed', 'cancelled') AND (:types::text[] IS NULL OR type = wanted)
        ORDER BY type, queue, status LIMIT 1
    ) first
    UNION ALL
    SELECT next.* FROM kinds CROSS JOIN LATERAL (
        SELECT type, queue, status FROM waggle.tasks
        WHERE status IN ('completed', 'failed', 'cancelled') AND (type, queue, status) > (kinds.type, kinds.queue, kinds.status)
        ORDER BY type, queue, status LIMIT 1
    ) next
    WHERE :types::text[] IS NULL OR next.type = kinds.type  -- not a condition of the look, which would then read all of a kind
), looked_up AS (
    SELECT * FROM kinds LIMIT :enough + 1
)
SELECT (SELECT count(*) FROM looked_up) AS looked_up, array_agg(type) AS types, array_agg(queue) AS queues, array_agg(status) AS statuses
FROM looked_up WHERE status = ANY (:statuses::text[]) AND (:queue::text IS NULL OR queue = :queue) AND (:queues::text[] IS NULL OR queue = ANY (:queues::text[]));
