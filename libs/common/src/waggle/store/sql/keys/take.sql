-- Take idempotency keys, in one order everywhere so that two batches never wait for each other. Not returned: taken before.
INSERT INTO waggle.idempotency_keys (submitter, key, body_hash, task_ids)
SELECT u.submitter, u.key, u.body_hash, string_to_array(u.ids, ',')::uuid[]
FROM unnest(:submitters::text[], :keys::text[], :body_hashes::bytea[], :ids::text[]) AS u(submitter, key, body_hash, ids)
ORDER BY u.submitter, u.key
ON CONFLICT DO NOTHING
RETURNING submitter, key;
