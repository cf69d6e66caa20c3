-- Running tasks a lane.
SELECT queue, priority, count(*) AS running FROM waggle.tasks WHERE status = 'running' GROUP BY queue, priority;
