-- Tasks that became dead letters in the last `seconds`, counted up to `most`.
SELECT count(*) FROM (
    SELECT FROM waggle.tasks WHERE status = 'dead_letter' AND updated > now() - :seconds * interval '1 second' LIMIT :most
) dead;
