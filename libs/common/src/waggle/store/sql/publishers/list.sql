-- Who may publish, and what.
SELECT name, password, queues, types, events FROM waggle.publishers ORDER BY name;
