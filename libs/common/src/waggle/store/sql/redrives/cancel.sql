-- Stop a redrive that has not ended.
UPDATE waggle.redrives SET state = 'cancelled', reason = :reason::text, updated = now(), ended_at = now(), next_at = now()
WHERE id = :id AND state = 'running'
RETURNING id;
