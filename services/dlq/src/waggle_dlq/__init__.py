"""The dead letter queue's service: keeps it within its period and its size, retries what is in it, and does what operators ask."""
