-- End the leases of a worker process that has died; its parent gave it this token. What runs under them is lost at once.
DELETE FROM waggle.workers WHERE strpos(id, '-' || :token || '-') > 0 RETURNING id;
