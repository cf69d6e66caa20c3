-- The size of the dead letter queue.
SELECT count(*) FROM tasks WHERE status = 'dead_letter';
