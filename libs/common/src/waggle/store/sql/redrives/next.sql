-- Seconds until the earliest step of a redrive; null without one.
SELECT extract(epoch FROM min(next_at) - now())::float8 FROM waggle.redrives WHERE next_at IS NOT NULL;
