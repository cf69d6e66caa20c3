-- Running tasks a lane.
SELECT queue, priority, count(*) AS running FROM tasks WHERE status = 'running' GROUP BY queue, priority;
