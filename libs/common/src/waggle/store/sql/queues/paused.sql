-- Which of these queues are paused.
SELECT name FROM queues WHERE name = ANY (:names::text[]) AND paused;
