-- Which of these are claimable after all: a claim skipped them because they were lost before, their rows were locked, or the lease had expired.
SELECT id, type, lost_count, retry_count >= max_retries AS last_try, coalesce(started_at, created) AS started_at
FROM waggle.tasks t WHERE id = ANY (:ids::uuid[]) AND waggle.claimable(status || '', run_at, deadline) AND waggle.task_fits(t);
