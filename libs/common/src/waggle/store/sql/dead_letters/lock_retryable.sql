-- Lock dead letters whose next automatic retry is due: retryable, not retried `retries` times yet, dead for backoff · 2^n (at most `cap`),
-- up to half of it left away by chance, which a task's id and attempt decide, so that every service thinks the same.
SELECT t.id
FROM waggle.tasks t CROSS JOIN LATERAL (SELECT count(*) AS n FROM waggle.dead_letter_retries r WHERE r.task_id = t.id AND r.how = 'automatic') done
WHERE t.status = 'dead_letter' AND t.updated > :since::timestamptz AND t.updated <= now() - :backoff::float8 / 2 * interval '1 second'
  AND t.error ->> 'retryable' = 'true' AND done.n < :retries::int AND waggle.task_fits(t)
  AND t.updated <= now() - least(:backoff::float8 * power(2::float8, done.n), :cap::float8)
                           * (1 - (hashtextextended(t.id::text, t.attempt) & 1023) / 2048.0) * interval '1 second'
  AND (t.deadline IS NULL OR t.deadline > now())
  AND (t.unique_key IS NULL OR NOT EXISTS (
      SELECT FROM waggle.tasks u WHERE u.type = t.type AND u.unique_key = t.unique_key AND u.unique_key IS NOT NULL AND u.status IN ('pending', 'running')))
ORDER BY t.updated, t.id LIMIT :most FOR UPDATE OF t SKIP LOCKED;
