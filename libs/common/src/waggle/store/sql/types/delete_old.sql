-- Of each type only the versions that were served last are kept: a schema that differs at each start would fill the table.
DELETE FROM waggle.task_versions v USING (
    SELECT name, version, row_number() OVER (PARTITION BY name ORDER BY served DESC) AS place FROM waggle.type_versions WHERE workers = 0
) o WHERE (v.name, v.version) = (o.name, o.version) AND o.place > :kept;
