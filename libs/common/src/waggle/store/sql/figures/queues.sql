-- All queues: whether they are paused, and how many live workers serve them.
SELECT q.name, q.paused, (SELECT count(*) FROM waggle.workers w WHERE w.queues @> ARRAY[q.name] AND NOT waggle.lease_expired(w.last_seen, w.lease)) AS workers
FROM waggle.queues q;
