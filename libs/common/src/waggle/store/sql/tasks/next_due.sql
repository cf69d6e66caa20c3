-- Seconds until the earliest task without a doorbell is due, of those since `back` seconds ago or of all; null if none waits.
SELECT extract(epoch FROM min(run_at) - now())::float8 FROM waggle.tasks t
WHERE status = 'pending' AND rung_at IS NULL AND run_at >= coalesce(now() - :back::float8 * interval '1 second', '-infinity') AND waggle.task_fits(t);
