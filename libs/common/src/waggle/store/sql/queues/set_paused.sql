-- Pause or resume a queue, also one that no worker has announced. Repeating it changes nothing and returns the same.
INSERT INTO waggle.queues (name, paused) VALUES (:name, :paused)
ON CONFLICT (name) DO UPDATE SET paused = excluded.paused, updated = CASE WHEN queues.paused = excluded.paused THEN queues.updated ELSE now() END
RETURNING name;
