-- The revision of the schema. The table belongs to Alembic.
SELECT version_num FROM waggle.alembic_version;
