-- Every worker that is known, the newest first, with whether its lease is live by the database's clock.
SELECT id, host, pid, version, started_at, last_seen, extract(epoch FROM lease)::float8 AS lease, concurrency, queues, types, versions, running, draining,
       NOT waggle.lease_expired(last_seen, lease) AS alive
FROM waggle.workers ORDER BY started_at DESC, id;
