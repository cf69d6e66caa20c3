-- Jumps of the clock in the last day, the newest first.
SELECT at, seconds FROM waggle.clock_jumps WHERE at > now() - interval '1 day' ORDER BY at DESC LIMIT 20;
