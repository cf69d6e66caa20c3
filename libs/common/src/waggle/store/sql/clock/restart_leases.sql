-- After a jump every lease is counted from now. A heartbeat in the future would keep the lease of a dead worker until the clock has caught up.
WITH restarted AS (
    UPDATE waggle.primary_server SET since = now()
)
UPDATE waggle.workers SET last_seen = now() WHERE last_seen > now();
