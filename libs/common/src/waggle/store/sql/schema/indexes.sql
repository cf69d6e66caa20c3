-- Every index, with whether it can be used: one whose concurrent build was interrupted cannot.
SELECT c.relname AS relation, i.relname AS name, pg_get_indexdef(x.indexrelid) || CASE WHEN x.indisvalid AND x.indisready THEN '' ELSE ' INVALID' END AS definition
FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class c ON c.oid = x.indrelid
WHERE c.relnamespace = to_regnamespace(:schema) AND c.relkind = 'r'
ORDER BY c.relname, i.relname;
