-- A new redrive; one that is there already (a repeated request) is left alone.
INSERT INTO waggle.redrives (id, filter, rate, most, matched, submitted_by, changes)
VALUES (:id::uuid, :filter::jsonb, :rate::float8, :most::int, :matched::bigint, :submitted_by::text, :changes::json)
ON CONFLICT DO NOTHING;
