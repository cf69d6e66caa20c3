-- A key that may be used now. Whoever asks compares the secrets: a key that is being replaced has two.
SELECT id, scopes, queues, types, secret, CASE WHEN previous_until > now() THEN previous_secret END AS previous_secret,
       extract(epoch FROM least(expires, previous_until) - now())::float8 AS seconds
FROM waggle.api_keys
WHERE id = :id AND revoked IS NULL AND (expires IS NULL OR expires > now());
