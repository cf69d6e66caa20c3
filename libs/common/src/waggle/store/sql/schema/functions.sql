-- Every function, with its source as it was written.
SELECT p.proname || '(' || oidvectortypes(p.proargtypes) || ')' AS name, concat_ws(' ', pg_get_function_identity_arguments(p.oid), 'RETURNS', pg_get_function_result(p.oid), l.lanname, p.provolatile, p.proparallel,
       CASE WHEN p.prosecdef THEN 'SECURITY DEFINER' END, p.proconfig::text, p.prosrc) AS definition
FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
WHERE p.pronamespace = to_regnamespace(:schema)
ORDER BY p.proname, definition;
