-- One task, whole, with the payload that it had before the first retry that edited it.
SELECT t.*, (SELECT r.payload FROM waggle.dead_letter_retries r WHERE r.task_id = t.id AND r.payload IS NOT NULL ORDER BY r.retried_at LIMIT 1) AS original_payload
FROM waggle.tasks t WHERE t.id = :id;
