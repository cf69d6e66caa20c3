-- Alerts, those that fire first, then the newest; older ones than `before` with an equal state come on later pages.
SELECT id, key, name, severity, summary, labels, value, since, resolved_at, sent, sent_at, error FROM waggle.alerts
WHERE (:firing::boolean IS NULL OR (resolved_at IS NULL) = :firing) ORDER BY resolved_at IS NULL DESC, since DESC LIMIT :most;
