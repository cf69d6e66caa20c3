-- Which of these are claimable after all: a claim skipped them because their rows were locked, or because the lease had expired.
SELECT id FROM waggle.tasks WHERE id = ANY (:ids::uuid[]) AND waggle.claimable(status || '', run_at, deadline);
