-- Lock a redrive whose next step is due; held until the step's commit, so that it goes on in one service at a time, and in another when that one dies.
SELECT * FROM waggle.redrives WHERE next_at <= now() ORDER BY next_at LIMIT 1 FOR UPDATE SKIP LOCKED;
