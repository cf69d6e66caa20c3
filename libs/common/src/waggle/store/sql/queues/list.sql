-- Every queue that was ever announced.
SELECT name, paused FROM waggle.queues ORDER BY name;
