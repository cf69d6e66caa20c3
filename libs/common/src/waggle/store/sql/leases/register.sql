-- A new lease under a fresh id.
INSERT INTO waggle.workers (id, host, pid, version, lease, concurrency, queues, types, doorbell_ids, versions)
VALUES (:id, :host, :pid, :version, :lease * interval '1 second', :concurrency, :queues::text[], :types::text[], :doorbell_ids, :versions::text[]);
