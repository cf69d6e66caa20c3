-- A session that lives, and its user as they are now: a role that was changed counts at once, also for tokens of before.
SELECT u.name, u.role, extract(epoch FROM s.expires - now())::float8 AS seconds
FROM waggle.sessions s JOIN waggle.users u ON u.id = s.user_id
WHERE s.id = :id AND s.ended IS NULL AND s.expires > now() AND NOT u.disabled;
