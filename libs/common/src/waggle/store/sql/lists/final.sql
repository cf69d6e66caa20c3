-- The newest final tasks of these kinds that fit a listing's other filters. Of each kind at most `examine` are looked at: `horizon` is the id down to
-- which all kinds were looked through, null when that is to their end.
WITH newest AS MATERIALIZED (
    SELECT kind.*, ARRAY(
        SELECT id FROM (
            SELECT id, priority, created, metadata FROM waggle.tasks
            WHERE type = kind.type AND queue = kind.queue AND status = kind.status AND status IN ('completed', 'failed', 'cancelled')
              AND id < :before AND id >= :since
            ORDER BY id DESC LIMIT :examine
        ) examined
        WHERE (:priority::smallint IS NULL OR priority = :priority)
          AND (:created_from::timestamptz IS NULL OR created >= :created_from)
          AND (:created_to::timestamptz IS NULL OR created < :created_to)
          AND (:metadata::jsonb IS NULL OR metadata @> :metadata)
        ORDER BY id DESC LIMIT :most + 1
    ) AS ids
    FROM unnest(:types::text[], :queues::text[], :statuses::text[]) AS kind (type, queue, status)
)
SELECT ARRAY(SELECT unnest(ids) AS id FROM newest ORDER BY id DESC LIMIT :most + 1) AS ids,
       (SELECT last.id FROM newest CROSS JOIN LATERAL (
           SELECT id FROM waggle.tasks
           WHERE type = newest.type AND queue = newest.queue AND status = newest.status AND status IN ('completed', 'failed', 'cancelled')
             AND id < :before AND id >= :since
           ORDER BY id DESC OFFSET :examine - 1 LIMIT 1
       ) last WHERE cardinality(newest.ids) <= :most ORDER BY last.id DESC LIMIT 1) AS horizon;
