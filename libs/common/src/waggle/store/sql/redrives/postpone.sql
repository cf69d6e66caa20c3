-- The step of a redrive that could not be done (somebody holds its rows, or looking for them took too long) comes later: others have their turn.
UPDATE waggle.redrives SET next_at = now() + :seconds::float8 * interval '1 second' WHERE id = :id AND next_at <= now();
