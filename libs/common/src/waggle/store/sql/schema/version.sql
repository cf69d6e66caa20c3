-- The revision of the schema. The table belongs to Alembic, which other programs use, too: it is Waggle's beside Waggle's tables.
SELECT a.version_num, EXISTS (
    SELECT FROM pg_catalog.pg_class theirs JOIN pg_catalog.pg_class c USING (relnamespace) WHERE theirs.oid = a.tableoid AND c.relname = 'task_attempts'
) AS ours
FROM waggle.alembic_version a;
