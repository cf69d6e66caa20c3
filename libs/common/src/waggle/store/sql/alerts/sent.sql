-- A message was handed over.
UPDATE waggle.alerts SET sent = :sent, sent_at = now(), claimed_until = NULL, error = :error WHERE id = :id;
