-- Delete a task that is finished, with its attempts and the payloads that retries replaced. Its idempotency key stays: a late repetition must not do
-- its work again.
WITH gone AS (
    DELETE FROM waggle.tasks WHERE id = :id AND status || '' IN ('completed', 'failed', 'cancelled') RETURNING id
), attempts_gone AS (
    DELETE FROM waggle.task_attempts WHERE task_id = ANY (ARRAY(SELECT id FROM gone))
), retries_gone AS (
    DELETE FROM waggle.dead_letter_retries WHERE task_id = ANY (ARRAY(SELECT id FROM gone))
)
SELECT id FROM gone;
