-- One step of a walk over the dead letters that gives those without a fingerprint one: they died before the schema knew it, or under a worker that
-- does not. Gives how far it came.
WITH seen AS MATERIALIZED (
    SELECT id, updated, fingerprint, waggle.task_fits(s) AS fits FROM waggle.tasks s WHERE status = 'dead_letter' AND (updated, id) > (:reached::timestamptz, :reached_id::uuid) ORDER BY updated, id LIMIT :most
), named AS (
    UPDATE waggle.tasks t SET fingerprint = waggle.fingerprint(t.type, t.error)
    WHERE t.id = ANY (ARRAY(SELECT id FROM seen WHERE fingerprint IS NULL AND fits ORDER BY id)) AND t.status || '' = 'dead_letter' AND t.fingerprint IS NULL
)
SELECT updated, id FROM seen ORDER BY updated DESC, id DESC LIMIT 1;
