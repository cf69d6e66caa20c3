-- Point keys taken in this transaction at the tasks that stand for them (a unique_key led to an existing one).
UPDATE waggle.idempotency_keys k SET task_ids = string_to_array(u.ids, ',')::uuid[]
FROM unnest(:submitters::text[], :keys::text[], :ids::text[]) AS u(submitter, key, ids)
WHERE k.submitter = ANY (ARRAY[u.submitter]) AND k.key = ANY (ARRAY[u.key]);  -- see tasks/settle.sql
