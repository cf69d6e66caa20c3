-- Of the tasks of some doorbells, those that are not there, and those that have not been claimable for a while. For ANY (ARRAY[…]) see tasks/settle.sql.
SELECT u.id, t.id IS NULL AS missing
FROM unnest(:ids::uuid[]) AS u(id) LEFT JOIN waggle.tasks t ON t.id = ANY (ARRAY[u.id])
WHERE t.id IS NULL OR (NOT waggle.claimable(t.status || '', t.run_at, t.deadline) AND t.updated < now() - :grace * interval '1 second');
