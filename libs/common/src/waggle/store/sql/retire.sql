-- One step of the walk that deletes finished tasks past their retention, with their attempts: ids ascend with time, so it needs no index of its own.
-- The predicate is checked on the row that is deleted; gives how far the walk came and whether it reached tasks too young to be finished that long.
WITH seen AS MATERIALIZED (
    SELECT id, created < now() - :keep * interval '1 second' AS ripe FROM tasks WHERE id > :after ORDER BY id LIMIT :most
), gone AS (
    DELETE FROM tasks t
    WHERE t.id = ANY (ARRAY(SELECT id FROM seen)) AND t.status || '' IN ('completed', 'failed', 'cancelled') AND t.completed_at < now() - :keep * interval '1 second'
    RETURNING t.id
), attempts_gone AS (
    DELETE FROM task_attempts WHERE task_id = ANY (ARRAY(SELECT id FROM gone))
)
SELECT (SELECT id FROM seen ORDER BY id DESC LIMIT 1) AS reached, (SELECT count(*) FROM seen) AS seen,
       (SELECT count(*) FROM seen WHERE ripe) AS ripe, (SELECT count(*) FROM gone) AS deleted;
