-- What runs under a worker's id, for its reconciliation: and whether it has done so for longer than a claim may take. (In the future: since before the
-- clock was set back.)
SELECT id, attempt, worker_id, started_at,
       started_at NOT BETWEEN now() - :old * interval '1 second' AND now() + interval '1 second' AS old
FROM waggle.tasks WHERE worker_id = :worker_id AND status = 'running';
