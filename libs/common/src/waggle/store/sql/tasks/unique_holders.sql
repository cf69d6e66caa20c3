-- The unfinished tasks that hold unique keys. For ANY (ARRAY[…]) see tasks/settle.sql.
SELECT t.id, t.type, t.unique_key
FROM waggle.tasks t JOIN unnest(:types::text[], :unique_keys::text[]) AS u(type, unique_key) ON t.type = ANY (ARRAY[u.type]) AND t.unique_key = ANY (ARRAY[u.unique_key])
WHERE t.unique_key IS NOT NULL AND t.status IN ('pending', 'running');
