-- A part of a task's timeline: its ended attempts after one, the first one first. Of an error, details with more than `details` bytes are left out.
SELECT attempt, worker_id, started_at, ended_at, outcome, logs IS NOT NULL AS has_logs,
       CASE WHEN octet_length((error -> 'details')::text) > :details::int
            THEN jsonb_set(error, '{details}', jsonb_build_object('details_dropped', format(
                'they have %s bytes, and of an attempt up to %s are shown', octet_length((error -> 'details')::text), :details::int)))
            ELSE error END AS error
FROM waggle.task_attempts WHERE task_id = :id AND attempt > :after ORDER BY attempt LIMIT :most;
