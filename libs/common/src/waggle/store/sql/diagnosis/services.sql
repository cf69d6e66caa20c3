-- The services that have connections to this database, by the name that each of them gives itself.
SELECT application_name AS name, count(*) AS connections FROM pg_stat_activity
WHERE datname = current_database() AND application_name LIKE 'waggle-%' GROUP BY application_name ORDER BY application_name;
