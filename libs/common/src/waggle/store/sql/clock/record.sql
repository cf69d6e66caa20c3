-- Record a jump of the clock once, although every scheduler sees it.
INSERT INTO waggle.clock_jumps (seconds)
SELECT :seconds::float8 WHERE NOT EXISTS (
    SELECT FROM waggle.clock_jumps j
    WHERE abs(extract(epoch FROM now() - j.at)) < 30 AND abs(j.seconds - :seconds::float8) < 5
)
ON CONFLICT DO NOTHING;
