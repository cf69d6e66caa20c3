-- Insert tasks. Repeating it with the same ids is harmless: what is there already is not returned.
-- A row that is due and that the caller will ring gets its rung_at in this commit; the scheduler rings the others.
WITH inserted AS (
    INSERT INTO waggle.tasks (id, type, queue, priority, description, payload, metadata, run_at, rung_at, deadline, max_retries, timeout,
                       unique_key, submitted_by, door, traceparent, tracestate, callback_url)
    SELECT u.id, u.type, u.queue, u.priority, u.description, u.payload, u.metadata,
           coalesce(u.run_at, now() + u.delay * interval '1 second'),
           CASE WHEN :ring AND coalesce(u.run_at, now() + u.delay * interval '1 second') <= now() THEN now() END,
           u.deadline, u.max_retries, u.timeout, u.unique_key, u.submitted_by, u.door, u.traceparent, u.tracestate, u.callback_url
    FROM unnest(:id::uuid[], :type::text[], :queue::text[], :priority::smallint[], :description::text[], :payload::json[],
                :metadata::jsonb[], :run_at::timestamptz[], :delay::float8[], :deadline::timestamptz[], :max_retries::int[],
                :timeout::float8[], :unique_key::text[], :submitter::text[], :door::text[], :traceparent::text[], :tracestate::text[],
                :callback_url::text[])
         AS u(id, type, queue, priority, description, payload, metadata, run_at, delay, deadline, max_retries, timeout,
              unique_key, submitted_by, door, traceparent, tracestate, callback_url)
    ON CONFLICT DO NOTHING
    RETURNING id, created, run_at, rung_at
)
SELECT id, created, run_at, rung_at FROM inserted;
