-- When these keys were last used, to the minute: a key that is used all the time is written once a minute.
UPDATE waggle.api_keys SET last_used = now()
WHERE id = ANY (:ids::text[]) AND (last_used IS NULL OR last_used < now() - interval '1 minute');
