-- The catalogue.
SELECT name, queue, max_retries, timeout, dead_letter, schema, updated FROM waggle.task_types ORDER BY name;
