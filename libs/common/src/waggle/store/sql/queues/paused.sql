-- Which of these queues are paused.
SELECT name FROM waggle.queues WHERE name = ANY (:names::text[]) AND paused;
