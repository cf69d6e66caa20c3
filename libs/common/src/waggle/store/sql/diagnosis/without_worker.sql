-- Running tasks whose worker has had no live lease for `seconds`: a scheduler takes them back within two. Counted up to `most`.
SELECT count(*) FROM (
    SELECT FROM waggle.tasks t LEFT JOIN waggle.workers w ON w.id = t.worker_id
    WHERE t.status = 'running' AND t.started_at < now() - :seconds * interval '1 second'
      AND (w.id IS NULL OR waggle.lease_expired(w.last_seen, w.lease + :seconds * interval '1 second'))
    LIMIT :most
) without_worker;
