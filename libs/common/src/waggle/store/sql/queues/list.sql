-- All queues that were ever announced.
SELECT name, paused FROM waggle.queues ORDER BY name;
