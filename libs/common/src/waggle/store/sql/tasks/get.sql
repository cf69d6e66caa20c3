-- One task, whole.
SELECT * FROM tasks WHERE id = :id;
