-- Postpone a step that could not be done, because its rows were locked or finding them took too long, so that others have their turn.
UPDATE waggle.redrives SET next_at = now() + :seconds::float8 * interval '1 second' WHERE id = :id AND next_at <= now();
