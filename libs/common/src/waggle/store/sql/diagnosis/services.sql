-- The services that have connections to this database, by the name that each of them gives itself; after a space follows that of the address.
SELECT split_part(application_name, ' ', 1) AS name, count(*) AS connections FROM pg_stat_activity
WHERE datname = current_database() AND application_name LIKE 'waggle-%' GROUP BY 1 ORDER BY 1;
