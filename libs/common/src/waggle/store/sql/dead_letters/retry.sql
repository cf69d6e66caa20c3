-- Dead letters become pending. `attempt` keeps counting, and the last error stays until the next one. A task with an obstacle stays a dead letter.
-- The scheduler rings them. `payloads`, in the order of `ids`, replace the old ones, which are kept. If another task takes a unique key at the same
-- moment, the statement fails as a whole: repeat it. All statements lock dead letters in this order. Not returned: the task is not a dead letter.
WITH held AS MATERIALIZED (
    SELECT id, type, queue, unique_key, updated, attempt, error ->> 'code' AS code, coalesce(deadline <= now(), false) AS late,
        CASE WHEN :payloads::json[] IS NOT NULL THEN payload END AS edited, (:payloads::json[])[array_position(:ids::uuid[], id)] AS payload
    FROM waggle.tasks
    WHERE id = ANY (:ids::uuid[]) AND status || '' = 'dead_letter'
    ORDER BY updated, id FOR UPDATE
), judged AS MATERIALIZED (
    SELECT h.id, h.type, h.queue, h.attempt, h.code, h.edited, h.payload, CASE
        WHEN h.late THEN 'deadline'
        WHEN h.unique_key IS NOT NULL AND (
            row_number() OVER (PARTITION BY h.type, h.unique_key, h.late ORDER BY h.updated, h.id) > 1
            OR EXISTS (SELECT FROM waggle.tasks u WHERE u.type = h.type AND u.unique_key = h.unique_key AND u.unique_key IS NOT NULL AND u.status IN ('pending', 'running'))
        ) THEN 'unique_key'
    END AS obstacle
    FROM held h
), retried AS (
    UPDATE waggle.tasks t
    SET status = 'pending', updated = now(), run_at = now(), rung_at = NULL, worker_id = NULL, completed_at = NULL, retry_count = 0, fingerprint = NULL,
        payload = coalesce(j.payload, t.payload)
    FROM judged j
    WHERE t.id = ANY (ARRAY[j.id]) AND j.obstacle IS NULL AND t.status || '' = 'dead_letter'
    RETURNING t.id, j.attempt, j.edited
), recorded AS (
    INSERT INTO waggle.dead_letter_retries (task_id, attempt, how, redrive_id, retried_by, payload)
    SELECT id, attempt, :how::text, :redrive_id::uuid, :retried_by::text, edited FROM retried
)
SELECT id, type, queue, attempt, code, obstacle FROM judged;
