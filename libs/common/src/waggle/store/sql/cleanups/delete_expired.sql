-- Delete cleanups whose tasks retention has deleted: no worker had the hook in all that time.
DELETE FROM waggle.cleanups c
WHERE c.created < now() - :keep * interval '1 second' AND NOT EXISTS (SELECT FROM waggle.tasks t WHERE t.id = ANY (ARRAY[c.task_id]));
