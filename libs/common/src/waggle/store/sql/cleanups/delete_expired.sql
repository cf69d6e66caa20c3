-- Hooks that are owed to tasks which retention has deleted meanwhile: no worker had the hook in all that time, and there is nothing left to tidy up after.
DELETE FROM waggle.cleanups c
WHERE c.created < now() - :keep * interval '1 second' AND NOT EXISTS (SELECT FROM waggle.tasks t WHERE t.id = ANY (ARRAY[c.task_id]));
