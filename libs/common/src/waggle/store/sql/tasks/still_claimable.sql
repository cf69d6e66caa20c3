-- Which of these are claimable after all: a claim passed them over because somebody held their rows, or because the lease had expired.
SELECT id FROM waggle.tasks WHERE id = ANY (:ids::uuid[]) AND waggle.claimable(status || '', run_at, deadline);
