-- Unfinished tasks that passed their deadline more than `seconds` ago: a scheduler fails them within a second. Counted up to `most`.
SELECT count(*) FROM (
    SELECT FROM waggle.tasks
    WHERE deadline IS NOT NULL AND deadline < now() - :seconds * interval '1 second' AND status IN ('pending', 'running') LIMIT :most
) late;
