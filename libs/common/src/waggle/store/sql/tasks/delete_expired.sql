-- One step of the walk that deletes completed tasks past their retention, with their attempts: ids ascend with time, so it needs no index of its own.
-- It ends where the ids themselves are too young: a task is no older than its id says, unless the clock that made the id was ahead.
-- The predicate is checked on the row that is deleted; gives how far the walk came.
WITH seen AS MATERIALIZED (
    SELECT id FROM waggle.tasks
    WHERE id > :after
      AND id < CAST(rpad(lpad(to_hex(greatest(0, extract(epoch FROM now() - :keep * interval '1 second') * 1000)::bigint), 12, '0'), 32, '0') AS uuid)
    ORDER BY id LIMIT :most
), gone AS (
    DELETE FROM waggle.tasks t
    WHERE t.id = ANY (ARRAY(SELECT id FROM seen)) AND t.status || '' = 'completed' AND t.completed_at < now() - :keep * interval '1 second'
    RETURNING t.id
), attempts_gone AS (
    DELETE FROM waggle.task_attempts WHERE task_id = ANY (ARRAY(SELECT id FROM gone))
)
SELECT (SELECT id FROM seen ORDER BY id DESC LIMIT 1) AS reached, (SELECT count(*) FROM seen) AS seen, (SELECT count(*) FROM gone) AS deleted;
