-- Alerts that were over `seconds` ago.
DELETE FROM waggle.alerts WHERE resolved_at < now() - :seconds * interval '1 second';
