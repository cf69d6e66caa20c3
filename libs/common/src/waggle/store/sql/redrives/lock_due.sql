-- Lock a redrive whose next step is due; held until the step's commit, so that one service at a time works on it, and another one continues when that one dies.
SELECT * FROM waggle.redrives WHERE next_at <= now() ORDER BY next_at LIMIT 1 FOR UPDATE SKIP LOCKED;
