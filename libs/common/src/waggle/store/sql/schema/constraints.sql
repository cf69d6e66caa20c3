-- Every constraint but NOT NULL, which is the column's.
SELECT c.relname AS relation, k.conname AS name, pg_get_constraintdef(k.oid) AS definition
FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
WHERE c.relnamespace = to_regnamespace(:schema) AND c.relkind = 'r' AND k.contype <> 'n'
ORDER BY c.relname, k.conname;
