-- Every queue that was ever announced.
SELECT name, paused FROM queues ORDER BY name;
