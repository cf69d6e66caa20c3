-- Some of the tasks that wait in a queue and were there at a moment; a filter that is null does not count.
(SELECT id FROM waggle.tasks
 WHERE status = 'pending' AND rung_at IS NOT NULL AND queue = :queue AND created <= :until
   AND (:priority::smallint IS NULL OR priority = :priority) AND (:type::text IS NULL OR type = :type)
 ORDER BY queue, priority, rung_at LIMIT :most)
UNION ALL
(SELECT id FROM waggle.tasks
 WHERE status = 'pending' AND rung_at IS NULL AND queue = :queue AND created <= :until
   AND (:priority::smallint IS NULL OR priority = :priority) AND (:type::text IS NULL OR type = :type)
 ORDER BY run_at LIMIT :most);
