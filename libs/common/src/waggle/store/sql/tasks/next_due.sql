-- Seconds until the earliest task that nobody rang is due; null when none waits.
SELECT extract(epoch FROM min(run_at) - now())::float8 FROM waggle.tasks WHERE status = 'pending' AND rung_at IS NULL;
