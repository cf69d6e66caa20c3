-- Renew a lease, never an expired one: no row means that the worker must cancel its handlers and go on under a new id.
UPDATE waggle.workers SET last_seen = now(), running = :running, draining = :draining
WHERE id = :id AND NOT waggle.lease_expired(last_seen, lease)
RETURNING id;
