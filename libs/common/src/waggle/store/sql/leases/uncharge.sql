-- Undo the charge for attempts that were lost under this worker's id: its process lived and was only cut off. An attempt that becomes 'given_back' is the
-- mark that this was done, so it happens once. Tasks that have come to rest meanwhile stay as they are. A dead letter lost its last try, which counts as
-- none of its retries; that it was retried has set them to 0: it has that one try left, and no more.
WITH held AS MATERIALIZED (
    SELECT t.id, f.attempt
    FROM unnest(:ids::uuid[], :attempts::int[]) AS f(id, attempt) JOIN waggle.tasks t ON t.id = ANY (ARRAY[f.id])
    WHERE t.status || '' IN ('pending', 'running') AND waggle.task_fits(t)
    FOR UPDATE OF t
), marked AS (
    UPDATE waggle.task_attempts a SET outcome = 'given_back', error = NULL
    FROM held h
    WHERE a.task_id = ANY (ARRAY[h.id]) AND a.attempt = h.attempt AND a.outcome = 'lost' AND a.worker_id = :worker_id
    RETURNING a.task_id
)
UPDATE waggle.tasks t
SET retry_count = CASE WHEN t.id = ANY (:revived::uuid[]) THEN t.max_retries ELSE greatest(0, t.retry_count - 1) END,
    lost_count = greatest(0, t.lost_count - 1), updated = now()
FROM marked m WHERE t.id = ANY (ARRAY[m.task_id]) AND t.status || '' IN ('pending', 'running')
RETURNING t.id;
