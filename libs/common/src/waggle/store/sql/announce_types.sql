-- Announce task types; a row is written only when something changed.
INSERT INTO task_types AS y (name, queue, max_retries, timeout, dead_letter, schema)
SELECT * FROM unnest(:names::text[], :queues::text[], :max_retries::int[], :timeouts::float8[], :dead_letters::bool[], :schemas::json[])
    AS u(name, queue, max_retries, timeout, dead_letter, schema)
ORDER BY u.name
ON CONFLICT (name) DO UPDATE
SET queue = excluded.queue, max_retries = excluded.max_retries, timeout = excluded.timeout, dead_letter = excluded.dead_letter,
    schema = excluded.schema, updated = now()
WHERE (y.queue, y.max_retries, y.timeout, y.dead_letter, y.schema::text)
      IS DISTINCT FROM (excluded.queue, excluded.max_retries, excluded.timeout, excluded.dead_letter, excluded.schema::text);
