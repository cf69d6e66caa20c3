-- The versions of these types that live workers serve, each with the queues of these workers.
SELECT v.name, v.version, v.schema, s.queues FROM waggle.task_versions v JOIN (
    SELECT t.name, t.version, array_agg(DISTINCT q.name) AS queues
    FROM waggle.workers w CROSS JOIN unnest(w.types, w.versions) t(name, version) CROSS JOIN unnest(w.queues) q(name)
    WHERE NOT w.draining AND NOT waggle.lease_expired(w.last_seen, w.lease) AND t.name = ANY (:names::text[])
    GROUP BY t.name, t.version
) s USING (name, version);
