-- Pause or resume a queue; one that nobody announced is written too. Repeating it changes nothing, and is answered all the same.
INSERT INTO waggle.queues (name, paused) VALUES (:name, :paused)
ON CONFLICT (name) DO UPDATE SET paused = excluded.paused, updated = CASE WHEN queues.paused = excluded.paused THEN queues.updated ELSE now() END
RETURNING name;
