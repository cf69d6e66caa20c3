-- The size of the dead letter queue.
SELECT count(*) FROM waggle.tasks WHERE status = 'dead_letter';
