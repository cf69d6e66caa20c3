-- Times of leases that are in the future are now: the clock was set back while no scheduler ran.
WITH since AS (
    UPDATE waggle.primary_server SET since = now() WHERE since > now()
)
UPDATE waggle.workers SET last_seen = now() WHERE last_seen > now();
