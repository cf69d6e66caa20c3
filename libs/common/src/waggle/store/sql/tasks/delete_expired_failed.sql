-- As tasks/delete_expired.sql, for tasks that failed or were cancelled: an index of their own leads to them, however many completed ones stand between.
WITH seen AS MATERIALIZED (
    SELECT id FROM waggle.tasks
    WHERE status IN ('failed', 'cancelled', 'dead_letter') AND status = :status AND id > :after
      AND id < CAST(rpad(lpad(to_hex(greatest(0, extract(epoch FROM now() - :keep * interval '1 second') * 1000)::bigint), 12, '0'), 32, '0') AS uuid)
    ORDER BY status, id LIMIT :most
), gone AS (
    DELETE FROM waggle.tasks t
    WHERE t.id = ANY (ARRAY(SELECT id FROM seen)) AND t.status || '' IN ('failed', 'cancelled') AND t.status || '' = :status
      AND t.completed_at < now() - :keep * interval '1 second'
    RETURNING t.id
), attempts_gone AS (
    DELETE FROM waggle.task_attempts WHERE task_id = ANY (ARRAY(SELECT id FROM gone))
)
SELECT (SELECT id FROM seen ORDER BY id DESC LIMIT 1) AS reached, (SELECT count(*) FROM seen) AS seen, (SELECT count(*) FROM gone) AS deleted;
