-- Tasks that came to rest after a place in time, the first of them first: `after` and `after_id` are the place of the last one before. Of those after it at
-- most `examine` are looked at; the last of these is where to go on from, null where there is none. Final tasks and dead letters have an index each (see migration 0020).
WITH ended AS MATERIALIZED (
    SELECT id, completed_at AS at, status, type, queue, priority FROM waggle.tasks
    WHERE completed_at IS NOT NULL AND attempt >= 0 AND (completed_at, id) > (:after::timestamptz, :after_id::uuid)
    ORDER BY completed_at, id LIMIT :examine
), dead AS MATERIALIZED (
    SELECT id, updated AS at, status, type, queue, priority FROM waggle.tasks
    WHERE status = 'dead_letter' AND (updated, id) > (:after::timestamptz, :after_id::uuid)
    ORDER BY updated, id LIMIT :examine
), examined AS MATERIALIZED (
    SELECT * FROM (SELECT * FROM ended UNION ALL SELECT * FROM dead) both_kinds ORDER BY at, id LIMIT :examine
), fitting AS (
    SELECT id, at FROM examined
    WHERE (:statuses::text[] IS NULL OR status = ANY (:statuses)) AND (:types::text[] IS NULL OR type = ANY (:types))
      AND (:queue::text IS NULL OR queue = :queue) AND (:queues::text[] IS NULL OR queue = ANY (:queues))
      AND (:priority::smallint IS NULL OR priority = :priority)
    ORDER BY at, id LIMIT :most
), last AS (
    SELECT at, id FROM examined ORDER BY at DESC, id DESC LIMIT 1
)
SELECT ARRAY(SELECT id FROM fitting ORDER BY at, id) AS ids, (SELECT count(*) FROM fitting) AS found, (SELECT count(*) FROM examined) AS seen,
       (SELECT at FROM last) AS last_at, (SELECT id FROM last) AS last_id, now() AS now;
