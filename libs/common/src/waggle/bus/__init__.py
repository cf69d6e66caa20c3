"""NATS: the doorbells and the short messages between services. Nothing here is the truth."""
