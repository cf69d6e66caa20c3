-- Raise alerts. One that fires already is only seen again, with its value now; several schedulers may raise the same one at once.
INSERT INTO waggle.alerts AS a (key, name, severity, summary, labels, value)
SELECT * FROM unnest(:keys::text[], :names::text[], :severities::text[], :summaries::text[], :labels::jsonb[], :values::float8[])
ON CONFLICT (key) WHERE resolved_at IS NULL DO UPDATE SET seen = now(), summary = excluded.summary, value = excluded.value
RETURNING key, since = now() AS is_new;
