-- What runs under a worker's id, for its reconciliation: and whether it has done so for longer than a claim may take.
SELECT id, attempt, worker_id, started_at, started_at < now() - :old * interval '1 second' AS old FROM waggle.tasks WHERE worker_id = :worker_id AND status = 'running';
