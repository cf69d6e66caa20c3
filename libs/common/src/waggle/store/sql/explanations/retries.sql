-- When a task came back from the dead letter queue, and who brought it back; the first one first.
SELECT retried_at, attempt, how, retried_by, payload IS NOT NULL AS edited FROM waggle.dead_letter_retries WHERE task_id = :id ORDER BY retried_at;
