-- End the lease of a worker that gave all its tasks back.
DELETE FROM waggle.workers WHERE id = :id;
