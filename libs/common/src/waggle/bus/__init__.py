"""NATS: the doorbells and the short messages between services. Postgres holds the truth, not NATS."""
