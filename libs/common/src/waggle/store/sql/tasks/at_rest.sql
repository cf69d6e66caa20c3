-- Which of these tasks have ended or rest in the dead letter queue.
SELECT id FROM waggle.tasks WHERE id = ANY (:ids::uuid[]) AND status || '' IN ('completed', 'failed', 'cancelled', 'dead_letter');
