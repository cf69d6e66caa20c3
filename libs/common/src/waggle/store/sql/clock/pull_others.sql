-- Cleanup hooks and redrives whose next step was due before the clock was set back by `back` seconds.
WITH hooks AS (
    UPDATE waggle.cleanups SET due = now() WHERE due > now() AND due <= now() + :back * interval '1 second'
)
UPDATE waggle.redrives SET next_at = now() WHERE next_at > now() AND next_at <= now() + :back * interval '1 second';
