-- When a task came back from the dead letter queue after some of its attempts, and who brought it back; the first one first.
SELECT retried_at, attempt, how, retried_by, payload IS NOT NULL AS edited FROM waggle.dead_letter_retries
WHERE task_id = :id AND attempt BETWEEN :first AND :last ORDER BY retried_at;
