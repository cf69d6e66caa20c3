-- Every worker that is known, with whether its lease is live.
SELECT id, NOT waggle.lease_expired(last_seen, lease) AS alive FROM waggle.workers;
