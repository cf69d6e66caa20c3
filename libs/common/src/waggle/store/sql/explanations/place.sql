-- How many tasks of a lane were rung before a time and still wait; counted up to `most`.
SELECT count(*) FROM (
    SELECT FROM waggle.tasks WHERE status = 'pending' AND rung_at IS NOT NULL AND queue = :queue AND priority = :priority AND rung_at < :rung_at LIMIT :most
) before;
