-- One alert.
SELECT id, key, name, severity, summary, labels, value, since, resolved_at, sent, sent_at, error FROM waggle.alerts WHERE id = :id;
