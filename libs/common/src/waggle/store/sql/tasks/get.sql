-- One task, whole.
SELECT * FROM waggle.tasks WHERE id = :id;
