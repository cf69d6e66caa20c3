-- An operator removes one dead letter: it becomes failed.
UPDATE waggle.tasks t SET status = 'failed', updated = now(), completed_at = now()
WHERE t.id = :id AND t.status || '' = 'dead_letter'
RETURNING t.id;
