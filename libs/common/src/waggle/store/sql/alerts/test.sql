-- An alert that somebody asked for: over at once, so that both messages come.
INSERT INTO waggle.alerts (key, name, severity, summary, labels) VALUES (:key, 'test', 'ticket', :summary, '{}') RETURNING id;
