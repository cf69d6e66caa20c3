"""The dead letter queue's service: keeps it within its period and its size."""
