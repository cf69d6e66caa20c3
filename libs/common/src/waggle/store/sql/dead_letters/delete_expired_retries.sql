-- One step of a walk that deletes the retries of deleted tasks; returns how far it came.
WITH seen AS MATERIALIZED (
    SELECT task_id FROM waggle.dead_letter_retries WHERE task_id > :after ORDER BY task_id LIMIT :most
), gone AS (
    DELETE FROM waggle.dead_letter_retries r
    WHERE r.task_id = ANY (ARRAY(SELECT task_id FROM seen)) AND NOT EXISTS (SELECT FROM waggle.tasks t WHERE t.id = ANY (ARRAY[r.task_id]))
)
SELECT (SELECT task_id FROM seen ORDER BY task_id DESC LIMIT 1) AS reached, (SELECT count(*) FROM seen) AS seen;
