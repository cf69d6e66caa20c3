-- Dead letters by type and error code, the most first; what is not among the first `most` is left out.
SELECT type, coalesce(error ->> 'code', '') AS code, count(*) AS tasks FROM waggle.tasks
WHERE status = 'dead_letter' GROUP BY 1, 2 ORDER BY count(*) DESC LIMIT :most;
