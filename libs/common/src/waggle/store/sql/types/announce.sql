-- Announce task types; a row is written only when something changed.
INSERT INTO waggle.task_types AS y (name, queue, max_retries, timeout, dead_letter, schema, backoff, cleanup)
SELECT * FROM unnest(:names::text[], :queues::text[], :max_retries::int[], :timeouts::float8[], :dead_letters::bool[], :schemas::json[], :backoffs::json[],
                     :cleanups::bool[])
    AS u(name, queue, max_retries, timeout, dead_letter, schema, backoff, cleanup)
ORDER BY u.name
ON CONFLICT (name) DO UPDATE
SET queue = excluded.queue, max_retries = excluded.max_retries, timeout = excluded.timeout, dead_letter = excluded.dead_letter,
    schema = excluded.schema, backoff = excluded.backoff, cleanup = excluded.cleanup, updated = now()
WHERE (y.queue, y.max_retries, y.timeout, y.dead_letter, y.schema::text, y.backoff::text, y.cleanup)
      IS DISTINCT FROM (excluded.queue, excluded.max_retries, excluded.timeout, excluded.dead_letter, excluded.schema::text, excluded.backoff::text,
                        excluded.cleanup);
