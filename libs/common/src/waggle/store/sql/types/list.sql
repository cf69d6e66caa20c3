-- The versions that are served or were served last, of each type the newest served first; beside them every version that hides a value.
SELECT name, version, queue, max_retries, timeout, dead_letter, schema, announced, served, workers, accepted, backoff
FROM waggle.type_versions WHERE accepted OR strpos(schema::text, '"writeOnly"') > 0 ORDER BY name, place;
