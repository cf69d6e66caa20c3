-- Seconds until the earliest task without a doorbell is due; null if none waits.
SELECT extract(epoch FROM min(run_at) - now())::float8 FROM waggle.tasks t WHERE status = 'pending' AND rung_at IS NULL AND waggle.task_fits(t);
