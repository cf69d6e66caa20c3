-- As tasks/insert.sql, for one task: with its values in no arrays, a large payload is copied less often on both sides.
WITH inserted AS (
    INSERT INTO waggle.tasks (id, type, queue, priority, description, payload, metadata, run_at, rung_at, deadline, max_retries, timeout,
                       unique_key, submitted_by, door, traceparent, tracestate, callback_url)
    SELECT :id, :type, :queue, :priority, :description, :payload, :metadata, due.run_at, CASE WHEN :ring AND due.run_at <= now() THEN now() END,
           :deadline, :max_retries, :timeout, :unique_key, :submitter, :door, :traceparent, :tracestate, :callback_url
    FROM (SELECT coalesce(:run_at, now() + :delay::float8 * interval '1 second') AS run_at) AS due
    ON CONFLICT DO NOTHING
    RETURNING id, created, run_at, rung_at
)
SELECT id, created, run_at, rung_at FROM inserted;
