-- The unfinished tasks that hold unique keys.
SELECT t.id, t.type, t.unique_key
FROM tasks t JOIN unnest(:types::text[], :unique_keys::text[]) AS u(type, unique_key) ON t.type = u.type AND t.unique_key = u.unique_key
WHERE t.unique_key IS NOT NULL AND t.status IN ('pending', 'running');
