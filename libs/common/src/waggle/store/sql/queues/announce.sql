-- Announce queues; known ones stay as they are.
INSERT INTO waggle.queues (name) SELECT u.name FROM unnest(:names::text[]) AS u(name) ORDER BY u.name ON CONFLICT DO NOTHING;
