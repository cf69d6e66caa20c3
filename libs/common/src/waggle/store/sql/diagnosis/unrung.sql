-- Tasks that have been due for more than `seconds` without a doorbell, and for how long: a scheduler rings within milliseconds. Counted up to `most`.
SELECT count(*) AS tasks, extract(epoch FROM now() - min(run_at))::float8 AS seconds FROM (
    SELECT run_at FROM waggle.tasks
    WHERE status = 'pending' AND rung_at IS NULL AND run_at < now() - :seconds * interval '1 second' AND waggle.claimable(status, run_at, deadline)
    ORDER BY run_at LIMIT :most
) late;
