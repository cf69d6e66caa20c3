-- The newest tasks that fit a listing's filters, by the primary key, or those of one status (`only`) by the index of that status. At most `examine` tasks
-- are looked at: `horizon` is the last of them, null when that is all or the page is full. A filter that is null does not count.
WITH fitting AS MATERIALIZED (
    SELECT id FROM (
        SELECT * FROM waggle.tasks WHERE (:only::text IS NULL OR status = :only) AND id < :before AND id >= :since ORDER BY id DESC LIMIT :examine
    ) examined
    WHERE (:statuses::text[] IS NULL OR status = ANY (:statuses::text[]))
      AND (:types::text[] IS NULL OR type = ANY (:types::text[]))
      AND (:queue::text IS NULL OR queue = :queue)
      AND (:queues::text[] IS NULL OR queue = ANY (:queues::text[]))
      AND (:priority::smallint IS NULL OR priority = :priority)
      AND (:created_from::timestamptz IS NULL OR created >= :created_from)
      AND (:created_to::timestamptz IS NULL OR created < :created_to)
      AND (:metadata::jsonb IS NULL OR metadata @> :metadata)
    ORDER BY id DESC LIMIT :most + 1
)
SELECT ARRAY(SELECT id FROM fitting ORDER BY id DESC) AS ids,
       CASE WHEN (SELECT count(*) FROM fitting) <= :most THEN (
           SELECT id FROM waggle.tasks WHERE (:only::text IS NULL OR status = :only) AND id < :before AND id >= :since ORDER BY id DESC OFFSET :examine - 1 LIMIT 1
       ) END AS horizon;
