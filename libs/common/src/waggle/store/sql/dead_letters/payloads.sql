-- Payloads of tasks.
SELECT id, type, payload FROM waggle.tasks WHERE id = ANY (:ids::uuid[]);
