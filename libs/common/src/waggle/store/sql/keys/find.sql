-- The rows of idempotency keys that were taken before. A statement of its own, so that it sees which transaction won.
SELECT k.submitter, k.key, k.body_hash, k.task_ids
FROM waggle.idempotency_keys k JOIN unnest(:submitters::text[], :keys::text[]) AS u(submitter, key) ON k.submitter = ANY (ARRAY[u.submitter]) AND k.key = ANY (ARRAY[u.key]);  -- see tasks/settle.sql
