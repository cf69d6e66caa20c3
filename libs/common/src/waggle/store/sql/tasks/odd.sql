-- The rows that no service works with among the next tasks after one, and the last of these; null when they are all.
WITH page AS MATERIALIZED (
    SELECT id, waggle.task_fits(t) AND (status <> 'running' OR (worker_id IS NOT NULL AND started_at IS NOT NULL AND attempt > 0)) AS fits
    FROM waggle.tasks t WHERE id > :after ORDER BY id LIMIT :most
)
SELECT ARRAY(SELECT id FROM page WHERE NOT fits ORDER BY id) AS odd,
       CASE WHEN (SELECT count(*) FROM page) = :most THEN (SELECT id FROM page ORDER BY id DESC LIMIT 1) END AS reached;
