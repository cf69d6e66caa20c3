-- What no scheduler has seen for `seconds` is over.
UPDATE waggle.alerts SET resolved_at = now(), claimed_until = NULL
WHERE resolved_at IS NULL AND seen < now() - :seconds * interval '1 second'
RETURNING name, key;
