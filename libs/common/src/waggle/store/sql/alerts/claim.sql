-- Alerts whose last message is still to be sent, for one scheduler at a time. One that was resolved before anybody heard of it is not sent.
WITH picked AS MATERIALIZED (
    SELECT id FROM waggle.alerts
    WHERE ((resolved_at IS NULL AND sent IS NULL) OR (resolved_at IS NOT NULL AND sent = 'firing')) AND (claimed_until IS NULL OR claimed_until < now())
    ORDER BY since LIMIT :most FOR UPDATE SKIP LOCKED
)
UPDATE waggle.alerts a SET claimed_until = now() + :seconds * interval '1 second' FROM picked p WHERE a.id = p.id
RETURNING a.id, a.key, a.name, a.severity, a.summary, a.labels, a.value, a.since, a.resolved_at;
