-- How many tasks of one doorbell every worker can read that may still be alive; the limit when there is none. A worker that is cut off comes back.
SELECT coalesce(min(doorbell_ids), :most) FROM waggle.workers WHERE last_seen > now() - interval '10 minutes';
