CREATE FUNCTION waggle.note_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO waggle.task_versions AS v (name, version, queue, max_retries, timeout, dead_letter, schema, backoff, cleanup)
    VALUES (NEW.name, left(encode(sha256(convert_to(NEW.schema::text, 'UTF8')), 'hex'), 12), NEW.queue, NEW.max_retries, NEW.timeout, NEW.dead_letter, NEW.schema,
            NEW.backoff, NEW.cleanup)
    ON CONFLICT (name, version) DO UPDATE
    SET queue = excluded.queue, max_retries = excluded.max_retries, timeout = excluded.timeout, dead_letter = excluded.dead_letter, backoff = excluded.backoff, cleanup = excluded.cleanup,
        served = greatest(v.served, excluded.served);
    NEW.cleanup := NEW.cleanup OR EXISTS (SELECT FROM waggle.task_versions v WHERE v.name = NEW.name AND v.cleanup)
        AND EXISTS (SELECT FROM waggle.type_versions t WHERE t.name = NEW.name AND t.workers > 0 AND t.cleanup);
    RETURN NEW;
END
$$;

CREATE FUNCTION waggle.note_served() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM waggle.task_versions v WHERE (v.name, v.version) IN (SELECT s.name, s.version FROM gone g CROSS JOIN unnest(g.types, g.versions) s(name, version))
    ORDER BY v.name, v.version FOR UPDATE;
    UPDATE waggle.task_versions v SET served = s.until
    FROM (
        SELECT s.name, s.version, max(CASE WHEN waggle.lease_expired(g.last_seen, g.lease) THEN g.last_seen ELSE now() END) AS until
        FROM gone g CROSS JOIN unnest(g.types, g.versions) s(name, version) GROUP BY s.name, s.version
    ) s WHERE (v.name, v.version) = (s.name, s.version) AND v.served < s.until;
    RETURN NULL;
END
$$;

CREATE FUNCTION waggle.version_errors(known waggle.type_versions, payload json) RETURNS SETOF text LANGUAGE plpgsql STABLE AS $$
DECLARE
    found text[] := ARRAY(SELECT waggle.schema_errors(known.schema, payload, 'payload', known.schema) LIMIT 1000);
BEGIN
    IF found <> '{}' AND NOT EXISTS (
        SELECT FROM waggle.type_versions t WHERE t.name = known.name AND t.accepted AND t.place > 1
           AND NOT EXISTS (SELECT FROM waggle.schema_errors(t.schema, payload, 'payload', t.schema))
    ) THEN
        RETURN QUERY SELECT e FROM unnest(found) e;
    END IF;
END
$$;
